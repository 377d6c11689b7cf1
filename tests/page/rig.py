"""What the tests of the page share: origins, a farmgate and a browser. Everything is on loopback: origins are threads of this
process, farmgate a child process in a directory of its own, Chromium another. Every wait has a deadline.
"""

import http.server
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request

from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from ports import free_port

TOKEN = "token-of-the-page-tests"
PATIENCE_S = 20


class Origin:
    """A web server whose answers to /healthz can be changed."""

    def __init__(self):
        origin = self
        self.status, self.reason, self.body = 200, "OK", "fine"

        class Answer(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = f"{origin.body}\n".encode()
                self.send_response(origin.status, origin.reason)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def until(what, look):
    """Returns the first true value of `look`, which may fail meanwhile because the page draws itself anew."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if found := look():
                return found
        except (NoSuchElementException, StaleElementReferenceException, OSError):
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE_S} s in vain for {what}")
        time.sleep(0.05)


def chromium():
    options = Options()
    options.binary_location = "/usr/bin/chromium"
    # As root in a container Chromium has no sandbox of its own; it opens nothing but the farmgate of the test.
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,820"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


class Shown(unittest.TestCase):
    """Tests that have a farmgate, whose admin side is at `admin`, and a browser."""

    @classmethod
    def start(cls, config, role, keeps_state=False):
        """Starts both; the config lacks only its admin side and where state is kept."""
        directory = tempfile.TemporaryDirectory(prefix="farmgate-page-")
        cls.addClassCleanup(directory.cleanup)
        place = pathlib.Path(directory.name)
        cls.admin = f"127.0.0.1:{free_port()}"
        admin = {"listen": cls.admin, "tokens": [{"name": "ops", "role": role, "token": TOKEN}]}
        state = {"state_dir": str(place / "state")} if keeps_state else {}
        # JSON is YAML.
        (place / "farmgate.yaml").write_text(json.dumps({**config, **state, "admin": admin}))
        log = open(place / "log", "wb")
        cls.addClassCleanup(log.close)
        argv = [os.environ["FARMGATE_BIN"], "run", "-c", str(place / "farmgate.yaml")]
        cls.farmgate = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        cls.addClassCleanup(cls.stop)
        until("farmgate to be ready", lambda: urllib.request.urlopen(f"http://{cls.admin}/readyz", timeout=5).status == 200)
        cls.browser = chromium()
        cls.addClassCleanup(cls.browser.quit)

    @classmethod
    def stop(cls):
        cls.farmgate.terminate()
        cls.farmgate.wait(PATIENCE_S)

    @classmethod
    def find(cls, selector):
        return cls.browser.find_element(By.CSS_SELECTOR, selector)

    @classmethod
    def sign_in(cls, token=TOKEN):
        until("the sign-in", lambda: cls.find("#sign-in").is_displayed())
        cls.find("#token").send_keys(token, Keys.ENTER)

    @classmethod
    def ask(cls, method, path, body, **fields):
        """Asks the admin side as the operator; returns what the answer holds, if anything."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **fields}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{cls.admin}{path}", method=method, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            text = answer.read()
        return json.loads(text) if text.strip() else None
