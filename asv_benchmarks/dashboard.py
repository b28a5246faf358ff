"""A picture of the published dashboard, taken by headless Chromium: ``python asv_benchmarks/dashboard.py OUT.png``.

Run `asv publish` first. asv's page takes its libraries from the network's delivery servers; here they come from npm, so
that it also works where only the package registries can be reached. Needs npm and chromium; not part of CI.
"""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

HTML = Path(__file__).parents[1] / ".asv" / "html"
LIBRARIES = {
    "jquery@3.3.1": ["jquery/dist/jquery.min.js"],
    "flot@0.8.3": [f"flot/jquery.flot{part}.js" for part in ("", ".time", ".selection", ".categories")],
    "flot-orderbars@1.0.0": ["flot-orderbars/js/jquery.flot.orderBars.js"],
    "stupid-table-plugin@1.1.3": ["stupid-table-plugin/stupidtable.min.js"],
    "blueimp-md5@2.19.0": ["blueimp-md5/js/md5.min.js"],
    "bootstrap@3.1.1": ["bootstrap/dist/js/bootstrap.min.js", "bootstrap/dist/css/bootstrap.min.css"],
}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


def localised(page: str) -> str:
    """Return the page with its libraries from the same folder, and without their checksums."""
    files = {Path(file).name: file for group in LIBRARIES.values() for file in group}
    files |= {name.replace(".js", ".min.js"): file for name, file in files.items() if name.startswith("jquery.flot")}

    def local(match: re.Match[str]) -> str:
        name = match[2].rsplit("/", 1)[1].replace("jquery-3.3.1", "jquery")
        return f'{match[1]}="node_modules/{files[name]}"'

    page = re.sub(r' integrity="[^"]*"| crossorigin="[^"]*"', "", page)
    return re.sub(r'(src|href)="(https://[^"]*\.(?:js|css))"', local, page)


def main(out: str, page: str = "") -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = Path(shutil.copytree(HTML, Path(folder) / "html"))
        subprocess.run(["npm", "install", "--silent", "--no-fund", *LIBRARIES], cwd=site, check=True)
        index = site / "index.html"
        index.write_text(localised(index.read_text()))
        server = http.server.ThreadingHTTPServer(("localhost", 0), functools.partial(Quiet, directory=site))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://localhost:{server.server_port}/#{page}"
        subprocess.run(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--virtual-time-budget=10000",
                "--window-size=1300,900",
                f"--screenshot={Path(out).resolve()}",
                address,
            ],
            check=True,
            timeout=120,
            stderr=subprocess.DEVNULL,
        )
        server.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
