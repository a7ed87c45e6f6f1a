"""Exit with 0 if one of Airflow's components is healthy: `healthy.py COMPONENT [URL]`.

Costs some 30 ms; `airflow jobs check` would cost seconds of CPU a probe. Without a URL the api-server is
asked, which knows when the others were last heard of.
"""

import http.client
import json
import os
import sys
from urllib.parse import urlsplit

COMPONENT, *URLS = sys.argv[1:]
API = os.environ.get("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "http://api-server:8080/execution/")
URL = urlsplit(URLS[0] if URLS else API.replace("/execution/", "/api/v2/monitor/health"))
SECURE = URL.scheme == "https"

# This module, unlike urllib.request, uses no proxy.
connection = (http.client.HTTPSConnection if SECURE else http.client.HTTPConnection)(URL.netloc, timeout=5)
try:
    connection.request("GET", URL.path)
    answer = connection.getresponse()
    body = answer.read()
except OSError as e:
    sys.exit(f"{COMPONENT}: {e}")
if answer.status != 200:
    sys.exit(f"{COMPONENT}: {URL.netloc} answers {answer.status} {answer.reason}")
if not URLS:
    status = json.loads(body).get(COMPONENT.replace("-", "_"), {}).get("status", "healthy")
    if status != "healthy":
        sys.exit(f"{COMPONENT}: {status}")
