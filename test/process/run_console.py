#!/usr/bin/env python3
"""The console page in a headless Chromium: it shows the cluster, its numbers move under load, it asks nobody but its node,
its policy is not violated, it reads in the dark and on a phone, and it says what is wrong when something is.

Screenshots are kept in CAIRN_SCREENSHOTS, if that is set.
"""
import json
import os
import subprocess
import urllib.parse

from browser import Browser
from cluster import Cluster, Runner, expect, http_get, wait_for
from run_admin import TOKEN, single

SHOTS = os.environ.get("CAIRN_SCREENSHOTS", "")


def shoot(browser, workspace, name):
    path = os.path.join(SHOTS or workspace.path, "console-%s.png" % name)
    expect(browser.screenshot(path) > 10000, "the screenshot %s is empty" % name)


def clean(browser, port, allowed=()):
    complaints = [c for c in browser.complaints() if not any(a in c for a in allowed)]
    expect(not complaints, "the page complains: %s" % complaints[:3])
    hosts = {urllib.parse.urlsplit(u).netloc for u in browser.requests() if not u.startswith(("about:", "data:"))}
    expect(hosts == {"127.0.0.1:%d" % port}, "requests to %s" % sorted(hosts))


def fits(browser, width):
    expect(browser.value("document.documentElement.scrollWidth") <= width, "the page is wider than %d" % width)


# Contrast of an element's text to what is behind it, by the rule of WCAG.
CONTRAST = """((selector) => {
  const element = document.querySelector(selector);
  const parse = (c) => c.match(/[0-9.]+/g).map(Number);
  let behind = element, ground = [0, 0, 0, 0];
  while (behind && (ground.length === 4 && ground[3] === 0)) { ground = parse(getComputedStyle(behind).backgroundColor); behind = behind.parentElement; }
  const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const a = light(parse(getComputedStyle(element).color).slice(0, 3)), b = light(ground.slice(0, 3));
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
})(%s)"""


def shows_the_cluster(workspace):
    cluster = Cluster(workspace.path).start()
    node = cluster.nodes[0]
    load = subprocess.Popen(["redis-benchmark", "-p", str(node.client), "-t", "set,get", "-n", "1000000000", "-c", "5", "-r", "10000", "-l", "-q"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    browser = Browser(workspace.path)
    try:
        browser.size(1280, 900)
        browser.open("http://127.0.0.1:%d/" % node.admin)
        browser.until("!document.getElementById('board').hidden", "the board")
        browser.until("document.getElementById('verdict').innerText === 'All is well'", "a healthy cluster")
        first = browser.until("/[0-9]/.test(document.getElementById('t-ops').innerText) && document.getElementById('t-ops').innerText", "commands per second")
        browser.until("document.getElementById('t-ops').innerText !== %s" % json.dumps(first), "the number moves")
        browser.until("/[0-9]/.test(document.getElementById('t-write').innerText)", "latency of writes")
        browser.until("document.querySelector('#s-ops path:last-child').getAttribute('d').split('L').length >= 3", "a sparkline")
        expect(browser.value("document.querySelectorAll('#nodes .node').length") == 3, "three nodes")
        expect(browser.value("document.querySelectorAll('#ranges tbody tr').length") == 17, "seventeen ranges")
        wanted = json.loads(http_get(node.admin, "/v1/ranges?key=user:42"))
        expect(browser.value("[...document.querySelectorAll('#ranges tbody tr')].map(r => r.cells[0].innerText).join()") == ",".join(map(str, range(17))), "their order")
        browser.value("document.querySelector('#key').value = 'user:42'; document.querySelector('#by-key').requestSubmit()")
        browser.until("(document.querySelector('tr.found td') || {}).innerText === '%d'" % wanted["id"], "the range of a key")
        browser.value("{ const s = document.querySelector('#search'); s.value = 'nothing fits this'; s.dispatchEvent(new Event('input')); }")
        browser.value("{ const k = document.querySelector('#key'); k.value = ''; k.dispatchEvent(new Event('input')); }")
        browser.until("document.querySelectorAll('#ranges tbody tr').length === 0 && !document.getElementById('no-ranges').hidden", "an empty search says so")
        browser.value("{ const s = document.querySelector('#search'); s.value = '%d'; s.dispatchEvent(new Event('input')); }" % wanted["slots"][0])
        expect(browser.value("[...document.querySelectorAll('#ranges tbody tr')].some(r => r.cells[0].innerText === '%d')" % wanted["id"]), "search by slot")
        browser.value("{ const s = document.querySelector('#search'); s.value = ''; s.dispatchEvent(new Event('input')); document.querySelector('th[data-sort=commit]').click(); }")
        commits = browser.value("[...document.querySelectorAll('#ranges tbody tr')].map(r => Number(r.cells[6].innerText.replaceAll(',', '')))")
        expect(commits == sorted(commits, reverse=True), "sorted by commit: %s" % commits)
        for dark in (False, True):
            browser.size(1280, 900, dark=dark)
            for selector in ("#verdict", "#verdict-more", ".tag.healthy", "#t-ops", ".tile h2", ".sub", ".count", "td", ".node dd"):
                ratio = browser.value(CONTRAST % json.dumps(selector))
                expect(ratio >= 4.5, "contrast of %s, dark %s: %.1f" % (selector, dark, ratio))
            shoot(browser, workspace, "dark" if dark else "light")
        browser.size(390, 844, mobile=True)
        browser.until("innerWidth === 390", "a phone's width")
        fits(browser, 390)
        shoot(browser, workspace, "phone")
        browser.size(1280, 900)
        # A node goes: the page says so.
        cluster.nodes[2].kill()
        browser.until("document.getElementById('health').classList.contains('degraded')", "degraded health")
        browser.until("document.querySelectorAll('#nodes .node.down').length === 1", "a node that is down")
        browser.until("document.querySelectorAll('.replica.away').length >= 16", "replicas that are away")
        expect("1 of 3 nodes do not answer" in browser.text("#messages"), "the message: %s" % browser.text("#messages"))
        shoot(browser, workspace, "degraded")
        clean(browser, node.admin)
        # This node goes: the page says that too, keeps what it had, and comes back with the node.
        load.terminate()
        node.kill()
        browser.until("document.getElementById('live').classList.contains('off')", "the connection is lost")
        expect(not browser.value("document.getElementById('board').hidden"), "the board goes away")
        node.start()
        browser.until("document.getElementById('live').classList.contains('on')", "it comes back", 40)
    finally:
        load.terminate()
        load.wait()
        browser.close()


def asks_for_the_token(workspace):
    node = single(workspace, {"admin.token": TOKEN})
    browser = Browser(workspace.path)
    try:
        browser.open("http://127.0.0.1:%d/" % node.admin)
        browser.until("!document.getElementById('gate').hidden", "the question for the token")
        enter = "document.getElementById('token').value = %s; document.getElementById('gate').requestSubmit()"
        browser.value(enter % json.dumps("wrong"))
        browser.until("!document.getElementById('wrong').hidden", "a wrong token is told")
        shoot(browser, workspace, "token")
        browser.value(enter % json.dumps(TOKEN))
        browser.until("!document.getElementById('board').hidden && document.getElementById('gate').hidden", "the board")
        expect(browser.value("JSON.stringify([localStorage.length, sessionStorage.length, document.cookie])") == '[0,0,""]', "the token is kept")
        clean(browser, node.admin, allowed=("401",))  # Chromium notes these by itself
    finally:
        browser.close()


def main():
    runner = Runner(__doc__)
    for check in (shows_the_cluster, asks_for_the_token):
        runner.check("console_" + check.__name__, check)
    runner.finish()


if __name__ == "__main__":
    main()
