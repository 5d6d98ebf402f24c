"""One small file a verb of the command line; each is imported when it is asked for."""

VERBS = {
    "init": "a portfolio from a CSV of clients, and its first run",
    "new": "a home of one's own, in a folder",
    "doctor": "is all well? each line ok, or what to do",
    "schedule": "the crontab lines for a tick every 15 minutes and the API",
    "alert": "a test message to all whom alerts.yaml names",
    "runs": "past runs of a portfolio, newest first",
    "show": "one run: its stages, the decision and why, where its report is",
    "quarantine": "what was set aside, with line and reason; --release FILE takes a corrected file in",
    "open": "a stage of a run, with its parameters, to be looked into in JupyterLab",
    "new-stage": "the skeleton of a stage of one's own",
    "rollback": "serve an earlier model again",
    "backtest": "what the rules would have decided on the past, beside never, always, monthly and naive",
    "pages": "write all pages anew, from what was recorded",
    "simulate": "let clients of the portfolio demo arrive",
    "telco": "fetch the 7,043 telecom clients (extra: telco)",
}
