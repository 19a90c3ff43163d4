"use strict";
// The console asks the node that served it, every two seconds, and keeps nothing but the last two minutes in memory.

const PERIOD_MS = 2000, HISTORY = 60, WINDOW = 5, RANGES_EVERY = 2, RANGES_MAX = 5000, ROWS = 50;
const $ = (id) => document.getElementById(id);
const state = {
  token: null, samples: [], history: {}, ranges: [], nodes: [], order: new Map(), sort: ["id", 1], rows: ROWS,
  found: null, turn: 0, failures: 0, running: false,
};

class Unauthorized extends Error {}

// ---- asking ----

async function ask(path) {
  const headers = state.token ? { Authorization: "Bearer " + state.token } : {};
  const reply = await fetch(path, { headers, cache: "no-store", credentials: "omit" });
  if (reply.status === 401) throw new Unauthorized();
  if (!reply.ok) {
    const problem = await reply.json().catch(() => ({}));
    throw new Error(problem.detail || "the node answers " + reply.status);
  }
  return reply;
}
const askJson = async (path) => (await ask(path)).json();

async function askRanges() {
  const all = [];
  for (let path = "/v1/ranges?limit=500"; path && all.length < RANGES_MAX;) {
    const reply = await ask(path);
    all.push(...await reply.json());
    const next = /<([^>]+)>; rel="next"/.exec(reply.headers.get("Link") || "");
    path = next ? next[1] : null;
  }
  return all;
}

// Prometheus text -> Map from name to [{labels, value}].
function parseMetrics(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const match = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, name, value] of (match[2] || "").matchAll(/([a-z_]+)="([^"]*)"/g)) labels[name] = value;
    if (!found.has(match[1])) found.set(match[1], []);
    found.get(match[1]).push({ labels, value: Number(match[3]) });
  }
  return found;
}

function total(metrics, name, wanted = {}) {
  let sum = 0;
  for (const { labels, value } of metrics.get(name) || []) {
    if (Object.entries(wanted).every(([k, v]) => labels[k] === v)) sum += value;
  }
  return sum;
}

// Upper bound -> count, of all series of a histogram that carry the labels.
function buckets(metrics, name, wanted = {}) {
  const sums = new Map();
  for (const { labels, value } of metrics.get(name + "_bucket") || []) {
    if (!Object.entries(wanted).every(([k, v]) => labels[k] === v)) continue;
    const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
    sums.set(bound, (sums.get(bound) || 0) + value);
  }
  return sums;
}

function quantile(now, before, q) {
  const bounds = [...now.keys()].sort((a, b) => a - b);
  const counts = bounds.map((b) => now.get(b) - (before.get(b) || 0));
  const all = counts[counts.length - 1] || 0;
  if (all <= 0) return null;
  const wanted = q * all;
  for (let i = 0; i < bounds.length; ++i) {
    if (counts[i] < wanted) continue;
    const low = i ? bounds[i - 1] : 0, below = i ? counts[i - 1] : 0;
    if (bounds[i] === Infinity) return low;
    return low + (bounds[i] - low) * (wanted - below) / Math.max(counts[i] - below, 1);
  }
  return null;
}

// ---- writing down ----

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
function short(n) {
  if (n < 10000) return n < 10 && n % 1 ? n.toFixed(1) : plain.format(n);
  if (n < 1e6) return (n / 1e3).toFixed(n < 1e5 ? 1 : 0) + "k";
  return (n / 1e6).toFixed(n < 1e7 ? 2 : 1) + "M";
}
function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; ++i; }
  return [n >= 100 || i === 0 ? n.toFixed(0) : n.toFixed(1), units[i]];
}
function seconds(s) {
  if (s < 1e-3) return [(s * 1e6).toFixed(0), "µs"];
  if (s < 1) return [(s * 1e3).toFixed(s < 0.01 ? 2 : s < 0.1 ? 1 : 0), "ms"];
  return [s.toFixed(1), "s"];
}
function age(s) {
  if (s < 120) return Math.floor(s) + " s";
  if (s < 7200) return Math.floor(s / 60) + " min";
  if (s < 172800) return Math.floor(s / 3600) + " h";
  return Math.floor(s / 86400) + " days";
}
const count = (n, one, many) => plain.format(n) + " " + (n === 1 ? one : many || one + "s");

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}
const colour = (node) => (state.order.has(node) ? "n" + state.order.get(node) % 8 : "none");

function spark(id, values) {
  const svg = $(id), wide = 100, high = 38;
  svg.setAttribute("viewBox", `0 0 ${wide} ${high}`);
  svg.setAttribute("preserveAspectRatio", "none");
  const known = values.filter((v) => v !== null);
  const span = Math.max(values.length, HISTORY / 4);  // a young page does not squeeze its few points into a corner
  const top = Math.max(...known, 1e-9) * 1.08, step = wide / (span - 1), first = span - values.length;
  const points = [];
  values.forEach((v, i) => { if (v !== null) points.push([(first + i) * step, high - 2 - (high - 5) * (v / top)]); });
  const line = points.map(([x, y], i) => (i ? "L" : "M") + x.toFixed(2) + " " + y.toFixed(2)).join("");
  const paths = [["area", points.length > 1 ? `${line}L${points[points.length - 1][0].toFixed(2)} ${high}L${points[0][0].toFixed(2)} ${high}Z` : ""], ["", line]];
  while (svg.childElementCount < 2) svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  paths.forEach(([name, d], i) => {
    svg.children[i].setAttribute("class", name);
    svg.children[i].setAttribute("d", d);
  });
}

function push(name, value) {
  const list = state.history[name] || (state.history[name] = []);
  list.push(value);
  if (list.length > HISTORY) list.shift();
  return list;
}

// ---- parts of the page ----

function showHealth(cluster) {
  $("health").className = "health " + cluster.status;
  const nodes = cluster.nodes, text = { ok: "All is well", degraded: "Needs a look", failing: "Not well" };
  $("verdict").textContent = text[cluster.status];
  const spare = cluster.can_lose_one_more_node ? "One more node may fail and everything still serves." :
    nodes.total < 3 ? "There is no spare node: a failure would stop some ranges." : "No further node may fail.";
  $("verdict-more").textContent = `${nodes.reachable} of ${count(nodes.total, "node")} reachable, ` +
    `${count(cluster.ranges.total, "range")}, ${cluster.keyspaces[0].replication_factor} replicas each. ${spare}`;
  $("messages").replaceChildren(...cluster.messages.map((m) => {
    const item = make("li", m.severity);
    item.append(make("b", "", m.text[0].toUpperCase() + m.text.slice(1)), make("span", "", m.hint));
    return item;
  }));
  $("whoami").textContent = `node ${cluster.node} of cluster ${cluster.id.slice(0, 8)}`;
  $("version").textContent = "Cairn " + cluster.version;
  document.title = (cluster.status === "ok" ? "" : "● ") + "Cairn · node " + cluster.node;
}

function showFigures(now) {
  const samples = state.samples;
  const last = samples[samples.length - 2], back = samples[Math.max(0, samples.length - 1 - WINDOW)];
  const metrics = now.metrics;
  const rate = (name, labels, from) => (from && now.at > from.at ?
    Math.max(0, total(metrics, name, labels) - total(from.metrics, name, labels)) / ((now.at - from.at) / 1000) : null);
  const ops = rate("cairn_resp_calls_total", {}, last);
  $("t-ops").textContent = ops === null ? "–" : short(ops);
  $("t-ops-sub").textContent = `${count(total(metrics, "cairn_resp_connections"), "client")}, ${short(rate("cairn_resp_forwarded_total", {}, last) || 0)}/s forwarded`;
  spark("s-ops", push("ops", ops));
  for (const [access, id] of [["read", "t-read"], ["write", "t-write"]]) {
    const name = "cairn_resp_command_duration_seconds", since = back === now ? null : back;
    const ask = (q, from) => (from ? quantile(buckets(metrics, name, { access }), buckets(from.metrics, name, { access }), q) : null);
    const p99 = ask(0.99, since), p50 = ask(0.5, since);
    const [figure, unit] = p99 === null ? ["–", ""] : seconds(p99);
    $(id).textContent = figure;
    $("u-" + access).textContent = unit;
    $(id + "-sub").textContent = p50 === null ? "none in the last 10 s" : "half within " + seconds(p50).join(" ");
    spark("s-" + access, push(access, ask(0.99, last)));
  }
  const syncs = rate("cairn_log_syncs_total", {}, last), acked = rate("cairn_log_writes_acked_total", {}, last);
  $("t-sync").textContent = syncs === null ? "–" : short(syncs);
  const sync99 = back === now ? null : quantile(buckets(metrics, "cairn_log_sync_duration_seconds"), buckets(back.metrics, "cairn_log_sync_duration_seconds"), 0.99);
  $("t-sync-sub").textContent = `${short(acked || 0)} writes/s` + (sync99 === null ? "" : ", p99 " + seconds(sync99).join(" "));
  spark("s-sync", push("sync", syncs));
  const all = rate("cairn_loop_seconds_total", { loop: "range" }, last), idle = rate("cairn_loop_seconds_total", { loop: "range", phase: "idle" }, last);
  const busy = all ? 100 * (1 - idle / all) : null;
  $("t-busy").textContent = busy === null ? "–" : busy.toFixed(busy < 10 ? 1 : 0);
  const turn = back === now ? null : quantile(buckets(metrics, "cairn_loop_turn_duration_seconds", { loop: "range" }), buckets(back.metrics, "cairn_loop_turn_duration_seconds", { loop: "range" }), 0.99);
  $("t-busy-sub").textContent = turn === null ? "\u00a0" : "p99 of a turn " + seconds(turn).join(" ");
  spark("s-busy", push("busy", busy));
  const size = total(metrics, "cairn_disk_size_bytes"), free = total(metrics, "cairn_disk_free_bytes");
  const [figure, unit] = bytes(total(metrics, "cairn_disk_bytes", { kind: "sstables" }));
  $("t-disk").textContent = figure;
  $("u-disk").textContent = unit + " in tables";
  const used = size ? 1 - free / size : 0;
  $("t-disk-sub").textContent = bytes(free).join(" ") + " free, " + Math.round(used * 100) + "% used";
  $("m-disk").className = "meter" + (used > 0.95 ? " bad" : used > 0.85 ? " warn" : "");
  $("m-disk").firstElementChild.style.width = (100 * used).toFixed(1) + "%";
}

function showNodes(nodes, led) {
  $("n-nodes").textContent = count(nodes.length, "member");
  $("nodes").replaceChildren(...nodes.map((node) => {
    const card = make("div", "node" + (node.state === "reachable" ? "" : " down"));
    const name = make("div", "name");
    name.append(make("i", "swatch " + colour(node.id)), make("span", "", "Node " + node.id));
    if (node.self) name.append(make("em", "", "this one"));
    name.append(make("span", "tag " + node.state, node.state));
    const list = make("dl");
    const facts = [["Clients", node.client_addr], ["Leads", `${led.get(node.id) || 0} of its ${count(node.ranges_held, "range")}`], ["Starts", node.incarnation || "not heard of"]];
    for (const [term, value] of facts) list.append(make("dt", "", term), make("dd", "", value));
    list.append(make("dt", "", "Admin"));
    const there = make("dd");
    if (node.self) {
      there.textContent = node.admin_addr;
    } else {
      const link = make("a", "", node.admin_addr);
      link.href = "http://" + node.admin_addr + "/";
      link.rel = "noreferrer";
      there.append(link);
    }
    list.append(there);
    card.append(name, list);
    return card;
  }));
}

function showSlots(ranges, led) {
  const users = ranges.filter((r) => r.slots).sort((a, b) => a.slots[0] - b.slots[0]);
  const pieces = [];
  for (const range of users) {
    const leader = range.leader ? range.leader.node : null, last = pieces[pieces.length - 1];
    // With many ranges, neighbours of one leader are drawn as one.
    if (users.length > 256 && last && last.leader === leader) { last.to = range.slots[1]; continue; }
    pieces.push({ leader, from: range.slots[0], to: range.slots[1], id: range.id });
  }
  $("slots").replaceChildren(...pieces.map((p) => {
    const bar = make("i", p.leader === null ? "none" : colour(p.leader));
    bar.style.flexGrow = String(p.to - p.from + 1);
    bar.title = `slots ${p.from}–${p.to}: ` + (p.leader === null ? "no leader" : "node " + p.leader);
    return bar;
  }));
  const rows = state.nodes.map((n) => ["swatch " + colour(n.id), `node ${n.id} leads ${count(led.get(n.id) || 0, "range")}`]);
  const without = ranges.filter((r) => !r.leader).length;
  if (without) rows.push(["swatch none", count(without, "range") + " without a leader"]);
  $("legend").replaceChildren(...rows.map(([swatch, text]) => {
    const item = make("li");
    item.append(make("i", swatch), document.createTextNode(text));
    return item;
  }));
}

function showJobs(jobs) {
  $("jobs-card").hidden = jobs.length === 0;
  $("n-jobs").textContent = count(jobs.length, "job") + " on this node";
  $("jobs").replaceChildren(...jobs.map((job) => {
    const line = make("div", "job"), share = job.progress.total ? job.progress.done / job.progress.total : 0;
    const text = job.kind === "snapshot_send" ? `Snapshot of range ${job.range} to node ${job.node}` : `Snapshot of range ${job.range} from node ${job.node}`;
    const meter = make("div", "meter"), bar = make("i");
    bar.style.width = (100 * share).toFixed(1) + "%";
    meter.append(bar);
    line.append(make("span", "", text), meter, make("span", "count", bytes(job.progress.done).join(" ") + " of " + bytes(job.progress.total).join(" ")));
    return line;
  }));
}

const farthest = (range) => Math.max(0, ...range.replicas.map((r) => r.lag));
const ORDER = {
  id: (r) => r.id, slot: (r) => (r.slots ? r.slots[0] : -1), state: (r) => ["damaged", "leaderless", "degraded", "healthy"].indexOf(r.state),
  leader: (r) => (r.leader ? r.leader.node : -1), lag: farthest, commit: (r) => r.commit, size: (r) => r.size_bytes,
};

function fits(range, words, wantedState) {
  if (wantedState && range.state !== wantedState) return false;
  const node = /^node\s*(\d+)$/.exec(words);
  if (node) return range.replicas.some((r) => r.node === Number(node[1]));
  if (!/^\d+$/.test(words)) return words === "" || range.keyspace.includes(words) || range.state.includes(words);
  const number = Number(words);
  return range.id === number || (range.slots && number >= range.slots[0] && number <= range.slots[1]);
}

function rangeRow(range) {
  const row = make("tr", range.id === state.found ? "found" : "");
  row.append(make("td", "id", range.id), make("td", "", range.slots ? range.slots.join(" – ") : "system"));
  const tag = make("td");
  tag.append(make("span", "tag " + range.state, range.state));
  const leader = make("td"), who = make("span", "who");
  if (range.leader) {
    who.append(make("i", "swatch " + colour(range.leader.node)), make("span", "", "node " + range.leader.node));
  } else {
    who.append(make("span", "", "none"));
  }
  leader.append(who);
  const replicas = make("td"), list = make("span", "replicas");
  for (const r of range.replicas) {
    const behind = r.snapshotting || r.lag > 10000;
    const chip = make("span", "replica" + (r.role === "leader" ? " leader" : !r.reachable ? " away" : behind ? " behind" : ""), r.node);
    chip.title = `node ${r.node}: ${r.role}, ` + (r.reachable ? (r.snapshotting ? "receives a snapshot" : count(r.lag, "entry", "entries") + " behind") : "unreachable");
    list.append(chip);
  }
  replicas.append(list);
  row.append(tag, leader, replicas, make("td", "num", range.leader ? short(farthest(range)) : "–"),
             make("td", "num", plain.format(range.commit)), make("td", "num", bytes(range.size_bytes).join(" ")));
  return row;
}

function showRanges() {
  const [key, direction] = state.sort;
  const words = $("search").value.trim().toLowerCase();
  const list = state.ranges.filter((r) => r.id === state.found || fits(r, words, $("state").value));
  list.sort((a, b) => (b.id === state.found) - (a.id === state.found) || direction * (ORDER[key](a) - ORDER[key](b)) || a.id - b.id);
  $("ranges").tBodies[0].replaceChildren(...list.slice(0, state.rows).map(rangeRow));
  for (const head of document.querySelectorAll("th[data-sort]")) {
    head.removeAttribute("aria-sort");
    if (head.dataset.sort === key) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  }
  $("n-ranges").textContent = list.length === state.ranges.length ? plain.format(list.length) : `${plain.format(list.length)} of ${plain.format(state.ranges.length)}`;
  $("more").hidden = list.length <= state.rows;
  $("no-ranges").hidden = list.length > 0;
  $("no-ranges").textContent = state.ranges.length ? "No range fits." : "The ranges are not created yet.";
}

// ---- the clockwork ----

function connection(on, text) {
  $("live").className = "live " + (on ? "on" : "off");
  $("live").lastElementChild.textContent = text;
}

function showGate(wrong) {
  $("loading").hidden = $("board").hidden = true;
  $("gate").hidden = false;
  $("wrong").hidden = !wrong;
  connection(false, "locked");
  $("token").focus();
}

async function turn() {
  const [cluster, nodes, jobs, text] = await Promise.all(
    [askJson("/v1/cluster"), askJson("/v1/nodes"), askJson("/v1/jobs"), ask("/metrics").then((r) => r.text())]);
  const now = { at: performance.now(), metrics: parseMetrics(text) };
  if (state.turn++ % RANGES_EVERY === 0) state.ranges = await askRanges();
  state.samples.push(now);
  if (state.samples.length > WINDOW + 1) state.samples.shift();
  state.nodes = nodes;
  nodes.map((n) => n.id).sort((a, b) => a - b).forEach((id, i) => state.order.set(id, i));
  const led = new Map();
  for (const r of state.ranges) if (r.leader && r.slots) led.set(r.leader.node, (led.get(r.leader.node) || 0) + 1);
  showHealth(cluster);
  showFigures(now);
  showNodes(nodes, led);
  showSlots(state.ranges, led);
  showJobs(jobs);
  showRanges();
  connection(true, "live · up " + age(total(now.metrics, "cairn_uptime_seconds")));
  $("loading").hidden = $("gate").hidden = true;
  $("board").hidden = false;
  state.failures = 0;
}

async function run() {
  if (state.running) return;
  state.running = true;
  for (;;) {
    if (!document.hidden) {
      try {
        await turn();
      } catch (error) {
        if (error instanceof Unauthorized) {
          showGate(state.token !== null);
          state.running = false;
          return;
        }
        state.failures += 1;
        const text = error instanceof TypeError ? "the node does not answer" : error.message;
        connection(false, text);
        $("loading").textContent = text[0].toUpperCase() + text.slice(1) + ". Asking again…";
        $("loading").className = "notice error";
        state.samples = [];  // rates across a gap would be wrong
      }
    }
    await new Promise((done) => setTimeout(done, PERIOD_MS * Math.min(1 + state.failures, 5)));
  }
}

async function findKey(event) {
  event.preventDefault();
  const key = $("key").value;
  state.found = null;
  if (key !== "") {
    try {
      state.found = (await askJson("/v1/ranges?key=" + encodeURIComponent(key))).id;
    } catch (error) {
      connection(false, error.message);
    }
  }
  showRanges();
}

$("gate").addEventListener("submit", (event) => {
  event.preventDefault();
  state.token = $("token").value.trim();
  $("token").value = "";
  // A page that is opened by a link carries no token.
  for (const link of document.querySelectorAll("footer nav a")) link.hidden = true;
  run();
});
$("search").addEventListener("input", () => { state.rows = ROWS; showRanges(); });
$("state").addEventListener("change", () => { state.rows = ROWS; showRanges(); });
$("by-key").addEventListener("submit", findKey);
$("key").addEventListener("input", (event) => { if (event.target.value === "" && state.found !== null) findKey(event); });
$("more").addEventListener("click", () => { state.rows += 4 * ROWS; showRanges(); });
for (const head of document.querySelectorAll("th[data-sort]")) {
  head.addEventListener("click", () => {
    const key = head.dataset.sort;
    state.sort = [key, state.sort[0] === key ? -state.sort[1] : (key === "lag" || key === "size" || key === "commit" ? -1 : 1)];
    showRanges();
  });
}
run();
