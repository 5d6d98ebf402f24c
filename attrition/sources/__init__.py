"""Where drops come from by themselves: files behind a URL, queries of a PostgreSQL server. Knows no runs."""
