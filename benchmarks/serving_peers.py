"""The other servers of benchmarks/serving.py: ``python serving_peers.py NAME PORT FOLDER``, in own environments.

Each serves the same pipeline (StandardScaler and LogisticRegression on five numbers), fitted from the same seed, in the
way that its own documentation shows; it needs nothing of attrition.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

NAMES = [f"x{number}" for number in range(5)]


def rows(count: int) -> list[dict[str, float]]:
    """Clients to send."""
    rng = np.random.default_rng(1)
    return [dict(zip(NAMES, map(float, np.round(rng.normal(size=5), 6)), strict=True)) for _ in range(count)]


def data():
    """Features, shape (2000, 5), and outcomes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 5))
    return x, (x @ [1.0, -1.0, 0.5, 0.2, 0.0] + rng.normal(size=2000) > 0).astype(int)


def fitted():
    """The pipeline."""
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = data()
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(pd.DataFrame(x, columns=NAMES), y)


def naive(port: int, folder: Path) -> None:
    """Flask, pandas, the development server."""
    import pandas as pd
    from flask import Flask, jsonify, request

    app, model = Flask("naive"), fitted()

    @app.post("/prediction")
    def prediction():
        frame = pd.DataFrame(request.get_json())
        frame["probability"] = model.predict_proba(frame)[:, 1]
        frame["decision"] = frame["probability"] >= 0.5
        frame["band"] = pd.cut(frame["probability"], [-1, 0.3, 0.6, 1], right=False, labels=["low", "medium", "high"])
        return jsonify(frame[["probability", "decision", "band"]].to_dict("records"))

    app.run(port=port)


def hello(port: int, folder: Path) -> None:
    """Flask that only says hello, on Granian's WSGI."""
    from granian import Granian

    options = {"workers": 1, "blocking_threads": 4, "websockets": False, "factory": True, "log_enabled": False}
    Granian(f"{__file__}:hello_app", "127.0.0.1", port, interface="wsgi", **options).serve()


def hello_app():
    """Its application."""
    from flask import Flask, Response, request

    app = Flask("hello")

    @app.post("/prediction")
    def say():
        request.get_data(cache=False)
        return Response(b'"hello"', mimetype="application/json")

    return app


def fastapi(port: int, folder: Path) -> None:
    """FastAPI and pydantic with folded coefficients, on uvicorn with uvloop and httptools."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    model = fitted()
    scaler, classifier = model[0], model[1]
    weights = classifier.coef_[0] / scaler.scale_
    intercept = classifier.intercept_[0] - weights @ scaler.mean_

    class Row(BaseModel):
        x0: float
        x1: float
        x2: float
        x3: float
        x4: float

    class Prediction(BaseModel):
        probability: float
        decision: bool
        band: str

    app = FastAPI()

    @app.post("/prediction")
    async def prediction(given: list[Row]) -> list[Prediction]:
        x = np.array([(row.x0, row.x1, row.x2, row.x3, row.x4) for row in given])
        found = (1 / (1 + np.exp(-(x @ weights + intercept)))).tolist()
        return [
            Prediction(probability=p, decision=p >= 0.5, band="high" if p >= 0.6 else "medium" if p >= 0.3 else "low")
            for p in found
        ]

    uvicorn.run(app, port=port, log_level="error", loop="uvloop", http="httptools")


def mlflow(port: int, folder: Path) -> None:
    """``mlflow models serve``."""
    from mlflow.sklearn import save_model

    if not (folder / "mlflow").exists():
        save_model(fitted(), folder / "mlflow", pyfunc_predict_fn="predict_proba")
    place = Path(sys.executable).parent / "mlflow"
    os.environ["PATH"] = f"{place.parent}:{os.environ['PATH']}"
    os.execv(
        place, ["mlflow", "models", "serve", "-m", str(folder / "mlflow"), "-p", str(port), "--env-manager", "local"]
    )


def bentoml(port: int, folder: Path) -> None:
    """A BentoML service with a pandas frame."""
    (folder / "service.py").write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import bentoml, pandas as pd\nimport serving_peers\n\n"
        "@bentoml.service(workers=1)\nclass Service:\n"
        "    def __init__(self) -> None:\n        self.model = serving_peers.fitted()\n\n"
        "    @bentoml.api(route='/prediction')\n"
        "    def prediction(self, rows: list[dict[str, float]]) -> list[float]:\n"
        "        return self.model.predict_proba(pd.DataFrame(rows))[:, 1].tolist()\n"
    )
    os.chdir(folder)
    place = Path(sys.executable).parent / "bentoml"
    os.execv(place, ["bentoml", "serve", "service:Service", "--port", str(port)])


def litserve(port: int, folder: Path) -> None:
    """A LitServe API with a pandas frame."""
    (folder / "app.py").write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import litserve as ls, pandas as pd\nimport serving_peers\n\n"
        "class Api(ls.LitAPI):\n"
        "    def setup(self, device):\n        self.model = serving_peers.fitted()\n"
        "    def decode_request(self, request):\n        return pd.DataFrame(request['rows'])\n"
        "    def predict(self, frame):\n        return self.model.predict_proba(frame)[:, 1]\n"
        "    def encode_response(self, output):\n        return {'probabilities': output.tolist()}\n\n"
        "if __name__ == '__main__':\n"
        "    server = ls.LitServer(Api(api_path='/prediction'), accelerator='cpu')\n"
        f"    server.run(port={port}, generate_client_file=False)\n"
    )
    os.execv(sys.executable, [sys.executable, str(folder / "app.py")])


def mlserver(port: int, folder: Path) -> None:
    """MLServer, its scikit-learn runtime in the same process."""
    import joblib
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    joblib.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(*data()), folder / "model.joblib")
    model = {"name": "m", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "./model.joblib"}}
    (folder / "model-settings.json").write_text(json.dumps(model))
    settings = {"http_port": port, "grpc_port": port + 1000, "metrics_port": port + 2000, "parallel_workers": 0}
    (folder / "settings.json").write_text(json.dumps(settings))
    place = Path(sys.executable).parent / "mlserver"
    os.execv(place, ["mlserver", "start", str(folder)])


PATHS = {"mlflow": "/invocations", "mlserver": "/v2/models/m/infer"}


def request(name: str, count: int) -> str:
    """The body that a server takes for so many rows."""
    sent = rows(count)
    if name == "mlflow":
        return json.dumps({"dataframe_split": {"columns": NAMES, "data": [list(row.values()) for row in sent]}})
    if name in ("bentoml", "litserve"):
        return json.dumps({"rows": sent})
    if name == "mlserver":
        flat = [value for row in sent for value in row.values()]
        tensor = {"name": "x", "shape": [count, 5], "datatype": "FP64", "data": flat}
        return json.dumps({"inputs": [tensor], "outputs": [{"name": "predict_proba"}]})
    if name == "ours, columns":
        return json.dumps({key: [row[key] for row in sent] for key in NAMES})
    return json.dumps(sent)


if __name__ == "__main__":
    globals()[sys.argv[1]](int(sys.argv[2]), Path(sys.argv[3]))
