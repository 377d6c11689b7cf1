"""The page as a person sees it: signing in, farms live, a server's details, and nothing that a server sends is ever run."""

import json
import os
import pathlib
import time
import unittest
import urllib.request

from selenium.webdriver.common.by import By

from ports import free_port
from rig import PATIENCE_S, Origin, Shown, until

# What a hostile server could send to be run in an operator's browser.
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


class Page(Shown):
    @classmethod
    def setUpClass(cls):
        cls.origins = {name: Origin() for name in ("web-1", "web-2", "web-3", "web-4", "db-1")}
        for origin in cls.origins.values():
            cls.addClassCleanup(origin.close)
        probe = {"type": "http", "url": "/healthz", "interval": "200ms"}
        address = {name: origin.address for name, origin in cls.origins.items()}
        config = {
            "service": "lb-demo",
            "frontends": {
                "web": {"protocol": "http", "listen": [f"127.0.0.1:{free_port()}"], "farm": "web"},
                "db": {"protocol": "tcp", "listen": [f"127.0.0.1:{free_port()}"], "farm": "db"},
            },
            "farms": {
                "web": {
                    "protocol": "http",
                    "probe": probe,
                    "servers": {name: {"address": address[name], "weight": 100} for name in ("web-1", "web-2", "web-3", "web-4")},
                },
                "db": {"protocol": "tcp", "servers": {"db-1": address["db-1"]}},
            },
        }
        cls.start(config, "operate")

    def setUp(self):
        for origin in self.origins.values():
            origin.status, origin.reason, origin.body = 200, "OK", "fine"
        for name in ("web-1", "web-2", "web-3", "web-4"):
            self.call("POST", f"{name}/ready", {})
            until(f"{name} to be up", lambda: self.api(name)["state"] == "UP")
        self.browser.get(f"http://{self.admin}/")
        self.browser.execute_script("sessionStorage.clear()")
        self.browser.get(f"http://{self.admin}/")

    def tearDown(self):
        # A refusal by the content security policy, a script that fails: all of it lands there. A 401 is a test's own.
        said = [entry["message"] for entry in self.browser.get_log("browser") if "401" not in entry["message"]]
        self.assertEqual(said, [])
        self.assertNotEqual(self.browser.title, "owned")

    def call(self, method, path, body=None):
        return self.ask(method, f"/api/v1/farms/web/servers/{path}", body)

    def api(self, name):
        return self.call("GET", name)

    def row(self, server):
        return self.find(f'tr[data-server="{server}"]')

    def state(self, server):
        """Its word, and how many pictograms: looked at again where the page has drawn the row anew meanwhile."""
        state = self.row(server).find_element(By.CSS_SELECTOR, ".state")
        return state.text, len(state.find_elements(By.TAG_NAME, "svg"))

    def open_details(self, server):
        until("the row", lambda: self.row(server).find_element(By.CSS_SELECTOR, "button.name").click() or True)
        until("the details", lambda: self.find("#details").is_displayed() and self.find("#details .sentence").text)
        return self.find("#details-body").text

    def test_wrong_token_is_refused_in_words_and_nothing_is_shown(self):
        self.sign_in("wrong")
        until("the refusal", lambda: "not one of admin.tokens" in self.find("#sign-in-error").text)
        self.assertEqual(self.browser.find_elements(By.CSS_SELECTOR, ".farm"), [])

    def test_every_server_has_a_row_with_a_pictogram_and_the_word_of_its_state(self):
        self.sign_in()
        until("the rows", lambda: len(self.browser.find_elements(By.CSS_SELECTOR, "tbody tr")) == 5)
        for server, word in (("web/web-1", "UP"), ("db/db-1", "no check")):
            self.assertEqual(until("the state", lambda: self.state(server)), (word, 1))
        until("the stream", lambda: self.find("#live").text == "live")

    def test_change_of_a_server_is_shown_without_reloading_the_page(self):
        self.sign_in()
        until("the row", lambda: self.row("web/web-2").find_element(By.CSS_SELECTOR, ".state").text == "UP")
        self.origins["web-2"].status, self.origins["web-2"].reason = 503, "Service Unavailable"
        until("DOWN", lambda: self.row("web/web-2").find_element(By.CSS_SELECTOR, ".state").text == "DOWN")
        until("the reason in the row", lambda: "L7STS 503 Service Unavailable" in self.row("web/web-2").text)
        until("the event", lambda: "web-2" in self.find("#event-list li").text)
        self.call("POST", "web-3/drain", {"reason": "new kernel"})
        until("DRAIN", lambda: self.row("web/web-3").find_element(By.CSS_SELECTOR, ".state").text == "DRAIN")

    def test_details_show_what_the_manager_shows_then_why_then_the_timeline(self):
        self.origins["web-2"].status, self.origins["web-2"].reason = 503, "Service Unavailable"
        until("it to be down", lambda: self.api("web-2")["state"] == "DOWN")
        self.sign_in()
        text = self.open_details("web/web-2")
        in_order = ["DOWN since", "Status", "DOWN", "Check code", "503", "Check status", "L7STS", "Last check content"]
        in_order += ["Service Unavailable", "Check time", "Why", "Evidence", "Timeline"]
        at = 0
        for word in in_order:
            self.assertIn(word, text[at:], f"{word!r} is missing, or not in its place, in:\n{text}")
            at = text.index(word, at) + len(word)
        evidence = self.find("#details-body details")
        evidence.find_element(By.TAG_NAME, "summary").click()
        until("what was sent and received", lambda: "GET /healthz HTTP/1.1" in self.find("#details-body").text)
        self.assertIn("HTTP/1.0 503" if "HTTP/1.0 503" in self.find("#details-body").text else "HTTP/1.1 503", self.find("#details-body").text)
        self.find("#close").click()
        until("the details to be closed", lambda: not self.find("#details").is_displayed())

    def test_drain_is_shown_with_who_and_why(self):
        self.call("POST", "web-3/drain", {"reason": "new kernel"})
        self.sign_in()
        text = self.open_details("web/web-3")
        for word in ("DRAIN", "ops from 127.0.0.1", "new kernel", "Still open"):
            self.assertIn(word, text)

    def test_what_a_server_sends_is_shown_as_text_and_never_run(self):
        self.origins["web-4"].status, self.origins["web-4"].reason = 500, HOSTILE
        until("it to be down", lambda: self.api("web-4")["state"] == "DOWN")
        self.sign_in()
        until("the text", lambda: "<img src=x" in self.row("web/web-4").text)
        self.assertIn("<img src=x", self.open_details("web/web-4"))
        self.assertEqual(self.browser.find_elements(By.CSS_SELECTOR, "main img, dialog img, main script, dialog script"), [])

    def test_page_may_load_nothing_from_elsewhere_and_be_framed_by_nobody(self):
        for path in ("/", "/page.js", "/page.css", "/page.svg"):
            with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=PATIENCE_S) as answer:
                policy = answer.headers["Content-Security-Policy"]
                self.assertIn("default-src 'none'", policy)
                self.assertIn("frame-ancestors 'none'", policy)
                self.assertNotIn("unsafe", policy)
                self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")

    def test_page_of_the_api_shows_every_operation_and_finds_them_without_signing_in(self):
        self.find('header a[href="api"]').click()
        with urllib.request.urlopen(f"http://{self.admin}/openapi.json", timeout=PATIENCE_S) as answer:
            document = json.load(answer)
        count = sum(len(item) for item in document["paths"].values())
        shown = lambda: [it for it in self.browser.find_elements(By.CSS_SELECTOR, ".operation") if it.is_displayed()]
        until("the operations", lambda: len(shown()) == count)
        self.assertEqual(self.find("#trouble").text, "")
        self.find("#find").send_keys("delete certificates")
        until("the one that is looked for", lambda: len(shown()) == 1)
        (found,) = shown()
        self.assertIn("/api/v1/certificates/{certificate}", found.text)
        found.find_element(By.TAG_NAME, "summary").click()
        for word in ("Needs role", "If-Match", "stage", "204", "409"):
            self.assertIn(word, found.text)
        found.find_element(By.LINK_TEXT, "ErrorBody").click()
        schema = self.find("#schema-ErrorBody")
        until("the schema", lambda: schema.get_attribute("open") is not None and "ErrorWire" in schema.text)

    def test_answer_that_comes_after_signing_out_is_not_shown(self):
        self.sign_in()
        until("the rows", lambda: self.row("web/web-1"))
        self.browser.execute_script("""
            const real = window.fetch;
            window.held = null;
            window.fetch = async (...asked) => {
              const answer = await real(...asked);
              if (asked[0] === "/api/v1/status") await new Promise((go) => { window.held = go; });
              return answer;
            };
        """)
        until("an answer on its way", lambda: self.browser.execute_script("return window.held !== null"))
        self.find("#sign-out").click()
        self.browser.execute_async_script("const done = arguments[0]; window.held(); setTimeout(done, 300);")
        self.assertEqual(self.browser.find_elements(By.CSS_SELECTOR, ".farm"), [])

    def test_sign_out_forgets_the_token(self):
        self.sign_in()
        until("the rows", lambda: self.row("web/web-1"))
        self.find("#sign-out").click()
        until("the sign-in", lambda: self.find("#sign-in").is_displayed())
        self.assertEqual(self.browser.execute_script("return sessionStorage.length"), 0)
        self.assertEqual(self.browser.find_elements(By.CSS_SELECTOR, ".farm"), [])

    @unittest.skipUnless("FARMGATE_PICTURE" in os.environ, "only for the README's pictures")
    def test_picture(self):
        self.call("POST", "web-3/drain", {"reason": "new kernel", "deadline": "10m"})
        self.call("POST", "web-4/maintenance", {"reason": "new disk", "until": "2h"})
        sick = self.origins["web-2"]
        sick.status, sick.reason, sick.body = 503, "Service Unavailable", "database connection lost"
        until("it to be down", lambda: self.api("web-2")["state"] == "DOWN")
        self.sign_in()
        until("the event", lambda: "web-2" in self.find("#event-list li").text)
        until("what it said", lambda: "database connection lost" in self.row("web/web-2").text)
        # Long enough for the ages to be plausible.
        time.sleep(4)
        picture = pathlib.Path(os.environ["FARMGATE_PICTURE"])
        self.browser.save_screenshot(str(picture))
        self.open_details("web/web-2")
        self.browser.save_screenshot(str(picture.with_name("why.png")))


if __name__ == "__main__":
    unittest.main()
