"""Print an address with its password, from a file and quoted: `with_password.py URL FILE`.

The command behind Airflow's `…_CMD` settings and sqltune's. A password in a variable would be in the output
of `docker inspect`; one that is not quoted breaks the address (`p@ss` makes a host of `ss`).
"""

import sys
from pathlib import Path
from urllib.parse import quote

url, file = sys.argv[1:]
scheme, _, rest = url.partition("://")
user, _, host = rest.partition("@")
password = quote(Path(file).read_text().strip(), safe="")
# Airflow takes everything that is printed, a line end too.
print(f"{scheme}://{user}:{password}@{host}", end="")
