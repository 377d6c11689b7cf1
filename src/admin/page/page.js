// Farms, live. Everything shown comes from the native API with the token of this tab; nothing is written.
// Texts of servers are only ever set as text.

const TOKEN = "farmgate-token";
const REFRESH_MS = 2000;
const RECONNECT_MS_MAX = 10000;
const EVENTS_SHOWN = 12;
const SVG = "http://www.w3.org/2000/svg";

const at = (id) => document.getElementById(id);
const view = { status: null, open: null, states: new Map(), last: 0, session: 0 };

/** Makes an element: `el("td", {class: "number"}, "5")`. Children are elements or texts. */
function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

// ---- states -------------------------------------------------------------------------------------------------------

/** Shapes that tell states apart without their colour. */
const SHAPES = {
  up: ["M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13z", "M5 8.2 7.2 10.4 11.2 5.8"],
  weak: ["M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13z", "M8 4.6v4.2M8 11.2v.3"],
  down: ["M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13z", "M5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8"],
  drain: ["M8 2v9.5M4.2 8 8 11.8 11.8 8M3.5 14.2h9"],
  maint: ["M2.5 13.5 8 8M9.2 2.3a3.6 3.6 0 0 0-2.9 5.1l2.3 2.3a3.6 3.6 0 0 0 5.1-2.9l-2.3 1-2-2z"],
  none: ["M8 1.5a6.5 6.5 0 0 1 6.5 6.5M8 14.5A6.5 6.5 0 0 1 1.5 8M5.5 8h5"],
};

/** What a server's state looks like: its shape, its colour. */
function look(server) {
  const word = server.state;
  if (word.startsWith("DOWN")) return ["down", "bad"];
  if (word.startsWith("MAINT (resolution)")) return ["down", "bad"];
  if (word.startsWith("MAINT")) return ["maint", "calm"];
  if (word.startsWith("DRAIN") || word.startsWith("NOLB")) return ["drain", "calm"];
  if (word === "no check") return ["none", "soft"];
  return word === "UP" ? ["up", "good"] : ["weak", "warn"];
}

function pictogram(shape) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({
    viewBox: "0 0 16 16", fill: "none", stroke: "currentColor", "stroke-width": "1.7",
    "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true",
  })) svg.setAttribute(key, value);
  for (const d of SHAPES[shape]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

function stateOf(server, word = server.state) {
  const [shape, colour] = look(server);
  return el("span", { class: `state ${colour}` }, pictogram(shape), word);
}

/** What is worth knowing beside the state. */
function tagsOf(server) {
  const tags = [];
  const standing = server.standing ?? {};
  if (server.backup) tags.push("backup");
  if (server.held_by_incident) tags.push("held by incident");
  if (standing.ejected) tags.push("ejected");
  if (standing.held_until) tags.push("held down");
  if (standing.warmup) tags.push(`warming up ${standing.warmup.percent} %`);
  if (standing.suspicion) tags.push("suspect");
  return tags.map((text) => el("span", { class: "tag" }, text));
}

// ---- words --------------------------------------------------------------------------------------------------------

function ago(now, then) {
  const seconds = Math.max(0, Math.round((Date.parse(now) - Date.parse(then)) / 1000));
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

const clockOf = (text) => el("time", { datetime: text, title: text }, text.replace("T", " ").replace(/\.\d+Z$/, " UTC"));
const plural = (n, thing) => `${n} ${thing}${n === 1 ? "" : "s"}`;
const SERVED_BY = {
  backups: "served by its backups: no primary server may take work",
  fail_open: "served by servers that are down (fail open): too few are up",
  held: "held as it was: so much fails at once that Farmgate suspects itself",
  nobody: "served by nobody: no server may take work",
  unproven: "served by servers not checked yet",
};

// ---- the table of farms -------------------------------------------------------------------------------------------

function farmCard(status, farm) {
  const why = SERVED_BY[farm.serving];
  const columns = [["Server", "wide"], ["State", "wide"], ["Weight", "number"], ["In flight", "number"], ["Last check"], ["Since", "optional since"]];
  return el("article", { class: "farm", "aria-label": `Farm ${farm.name}` },
    el("div", { class: "line" },
      el("h2", {}, farm.name),
      el("span", {}, farm.protocol),
      el("span", {}, farm.balance),
      el("span", {}, `${farm.counts.in_rotation} of ${plural(farm.counts.servers, "server")} in rotation`),
      why ? el("span", { class: "why" }, why) : null),
    el("div", { class: "scroll" },
      el("table", {},
        el("thead", {}, el("tr", {}, columns.map(([name, kind]) => el("th", { scope: "col", class: kind }, name)))),
        el("tbody", {},
          farm.servers.map((server) => serverRow(status, farm, server)),
          (farm.leaving ?? []).map((server) => leavingRow(server))))));
}

function serverRow(status, farm, server) {
  const key = `${farm.name}/${server.name}`;
  const changed = view.states.has(key) && view.states.get(key) !== server.state;
  view.states.set(key, server.state);
  const check = server.last_check;
  const last = check ? `${check.status}${check.code === null ? "" : ` ${check.code}`} ${check.content}` : "–";
  const show = () => openDetails(farm.name, server.name);
  return el("tr", { "data-server": key, class: changed ? "changed" : null, onclick: show },
    el("td", {}, el("button", { class: "name", type: "button" }, server.name), el("div", { class: "soft mono" }, server.address)),
    el("td", {}, stateOf(server), tagsOf(server)),
    el("td", { class: "number" }, `${server.effective_weight} / ${server.weight}`),
    el("td", { class: "number" }, String(server.in_flight)),
    el("td", { class: "content mono" }, last),
    el("td", { class: "optional soft" }, ago(status.at, server.since)));
}

function leavingRow(server) {
  return el("tr", {},
    el("td", {}, server.name, el("div", { class: "soft mono" }, server.address)),
    el("td", {}, el("span", { class: "state calm" }, pictogram("drain"), "removed, draining")),
    el("td", { class: "number" }, "0"),
    el("td", { class: "number" }, String(server.in_flight)),
    el("td", { class: "content soft" }, "gone from the config; shown until idle"),
    el("td", { class: "optional" }));
}

function render() {
  const { status } = view;
  at("service").textContent = `${status.service.name} · ${status.ready ? "ready" : "first round of checks under way"} · generation ${status.generation}`;
  const incident = status.incident;
  at("incident").hidden = !incident;
  if (incident) {
    at("incident").textContent = `Incident ${incident.id} since ${incident.since}: ${plural(incident.servers, "server")} of ` +
      `${incident.farms.join(", ")} failed at once. Farmgate suspects itself and holds the last good rotation until ${incident.until} at the latest.`;
  }
  const focused = document.activeElement?.closest?.("tr")?.dataset.server;
  at("farms").replaceChildren(...status.farms.map((farm) => farmCard(status, farm)));
  if (focused) at("farms").querySelector(`tr[data-server="${CSS.escape(focused)}"] button`)?.focus();
}

// ---- details of one server ----------------------------------------------------------------------------------------

async function openDetails(farm, server) {
  view.open = { farm, server };
  at("details-name").textContent = `${farm} / ${server}`;
  at("details-body").replaceChildren(el("p", { class: "soft" }, "Loading…"));
  if (!at("details").open) at("details").showModal();
  await refreshDetails();
}

async function refreshDetails() {
  const open = view.open;
  if (!open) return;
  const path = `/api/v1/farms/${encodeURIComponent(open.farm)}/servers/${encodeURIComponent(open.server)}`;
  let parts;
  try {
    parts = await Promise.all([call(path), call(`${path}/explain`), call(`${path}/timeline?limit=50`)]);
  } catch (error) {
    if (view.open === open) at("details-body").replaceChildren(el("p", { class: "error" }, error.message));
    return;
  }
  if (view.open !== open) return;
  const unfolded = new Set([...at("details-body").querySelectorAll("details[open]")].map((d) => d.dataset.key));
  const scroll = at("details").scrollTop;
  at("details-body").replaceChildren(...detailsOf(...parts));
  for (const fold of at("details-body").querySelectorAll("details")) fold.open = unfolded.has(fold.dataset.key);
  at("details").scrollTop = scroll;
}

function detailsOf(server, explain, timeline) {
  const check = server.last_check;
  const rows = (pairs) => el("dl", {}, pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  const order = server.order;
  return [
    el("p", { class: "sentence" }, stateOf(server, ""), " ", explain.sentence),
    (explain.advice ?? []).map((text) => el("p", { class: "warn" }, text)),
    el("h3", {}, `As seen by instance ${view.status?.service.instance_id ?? ""}`),
    rows([
      ["Status", server.state],
      ["Check code", check?.code === null || check?.code === undefined ? "–" : String(check.code)],
      ["Check status", check?.status ?? "INI"],
      ["Last check content", el("span", { class: "mono" }, check?.content || "–")],
      ["Check time", check ? clockOf(check.at) : "–"],
    ]),
    order ? [el("h3", {}, order.admin === "drain" ? "Drain" : "Maintenance"), rows(orderRows(order))] : [],
    el("h3", {}, "Why"),
    treeOf(explain.tree),
    explain.evidence.length ? el("h3", {}, "Evidence") : null,
    explain.evidence.map(evidenceOf),
    el("h3", {}, "Timeline"),
    timeline.events.length
      ? el("ol", { class: "timeline" }, timeline.events.map(eventLine))
      : el("p", { class: "soft" }, "Nothing has happened yet."),
  ].flat().filter(Boolean);
}

function orderRows(order) {
  const open = order.sessions.map((group) => `${plural(group.count, group.kind)}, the oldest ${Math.round(group.oldest_ms / 1000)} s`);
  return [
    ["By", order.actor ? `${order.actor} from ${order.source}` : "the config file"],
    ["Why", order.reason || "–"],
    ["Since", order.since ? clockOf(order.since) : "–"],
    ["Ends by itself", order.until ? clockOf(order.until) : "no"],
    ["Deadline", order.deadline ? [clockOf(order.deadline), ` then ${order.at_deadline}`] : "none"],
    ["Still open", open.length ? open.join("; ") : "nothing"],
  ].map(([name, value]) => [name, Array.isArray(value) ? el("span", {}, ...value) : value]);
}

function treeOf(nodes) {
  const branch = (node) => el("li", {},
    el("span", { class: "label" }, `${node.label}: `), node.text,
    node.children?.length ? el("ul", {}, node.children.map(branch)) : null);
  return el("ul", { class: "tree" }, nodes.map(branch));
}

function evidenceOf(evidence) {
  const ms = (value) => (value === null || value === undefined ? null : `${value.toFixed(1)} ms`);
  const times = [["connected", ms(evidence.connect_ms)], ["TLS", ms(evidence.tls_ms)], ["first byte", ms(evidence.first_byte_ms)], ["whole", ms(evidence.duration_ms)]]
    .filter(([, value]) => value).map(([name, value]) => `${name} ${value}`).join(" · ");
  const code = evidence.code === null ? "" : ` ${evidence.code}`;
  return el("details", { "data-key": `${evidence.at}${evidence.probe}` },
    el("summary", {}, clockOf(evidence.at), ` ${evidence.status}${code} `, el("span", { class: "mono" }, evidence.content)),
    el("p", { class: "soft" }, times),
    evidence.sent ? [el("div", { class: "soft" }, "Sent"), el("pre", {}, evidence.sent)] : [],
    evidence.received ? [el("div", { class: "soft" }, "Received"), el("pre", {}, evidence.received)] : [],
    evidence.tls_alert ? el("p", {}, `TLS alert: ${evidence.tls_alert}`) : null,
    evidence.certificate_sha256 ? el("p", { class: "mono" }, `certificate ${evidence.certificate_sha256}`) : null);
}

const eventLine = (event) => el("li", {}, clockOf(event.at), el("span", {}, event.text));

// ---- talking to the API -------------------------------------------------------------------------------------------

class SignedOut extends Error {}

async function call(path, headers = {}) {
  const answer = await fetch(path, { headers: { ...headers, authorization: `Bearer ${sessionStorage.getItem(TOKEN)}` }, cache: "no-store" });
  if (answer.status === 401) throw new SignedOut("This token is not one of admin.tokens.");
  if (headers.accept === "text/event-stream" && answer.ok) return answer;
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(body?.error?.message ?? `${path} answered ${answer.status}`);
  return body;
}

async function refresh() {
  const { session } = view;
  const status = await call("/api/v1/status");
  // Who has signed out meanwhile is shown nothing any more.
  if (session !== view.session) return;
  view.status = status;
  render();
  await refreshDetails();
}

let asked = null;
/** Refreshes soon, once for whatever happened meanwhile. */
function refreshSoon() {
  asked ??= setTimeout(() => {
    asked = null;
    refresh().catch(() => {});
  }, 120);
}

function live(word, kind) {
  at("live").textContent = word;
  at("live").className = kind;
}

function onEvent(event) {
  view.last = Math.max(view.last, event.id);
  at("event-list").prepend(eventLine(event));
  while (at("event-list").children.length > EVENTS_SHOWN) at("event-list").lastChild.remove();
  at("events").hidden = false;
  refreshSoon();
}

/** Follows the stream of events for as long as this sign-in lasts; after a break it goes on where it was. */
async function follow(session) {
  let wait = 500;
  while (session === view.session) {
    try {
      const answer = await call(`/api/v1/events?after=${view.last}`, { accept: "text/event-stream" });
      live("live", "on");
      wait = 500;
      let text = "";
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done || session !== view.session) break;
        text += value;
        for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
          const data = text.slice(0, end).split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
          text = text.slice(end + 2);
          if (data) onEvent(JSON.parse(data));
        }
      }
      await reader.cancel().catch(() => {});
    } catch (error) {
      if (session === view.session && error instanceof SignedOut) return signOut(error.message);
    }
    if (session !== view.session) return;
    live("reconnecting", "off");
    await new Promise((done) => setTimeout(done, wait));
    wait = Math.min(wait * 2, RECONNECT_MS_MAX);
  }
}

async function poll(session) {
  while (session === view.session) {
    await new Promise((done) => setTimeout(done, REFRESH_MS));
    if (session !== view.session || document.hidden) continue;
    await refresh().catch((error) => {
      if (session === view.session && error instanceof SignedOut) signOut(error.message);
    });
  }
}

// ---- signing in and out -------------------------------------------------------------------------------------------

function signOut(why = "") {
  view.session += 1;
  sessionStorage.removeItem(TOKEN);
  at("details").close();
  at("farms").replaceChildren();
  at("events").hidden = true;
  at("event-list").replaceChildren();
  at("incident").hidden = true;
  at("sign-out").hidden = true;
  at("service").textContent = "";
  live("signed out", "");
  at("sign-in").hidden = false;
  at("sign-in-error").textContent = why;
  at("token").value = "";
  at("token").focus();
}

async function begin() {
  const session = (view.session += 1);
  view.states.clear();
  try {
    const recent = await call(`/api/v1/timeline?limit=${EVENTS_SHOWN}`);
    await refresh();
    for (const event of recent.events.slice().reverse()) onEvent(event);
    view.last = Math.max(view.last, view.status.last_event ?? 0);
  } catch (error) {
    return session === view.session ? signOut(error.message) : undefined;
  }
  if (session !== view.session) return;
  at("sign-in").hidden = true;
  at("sign-out").hidden = false;
  follow(session);
  poll(session);
}

at("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, at("token").value.trim());
  begin();
});
at("sign-out").addEventListener("click", () => signOut());
at("close").addEventListener("click", () => at("details").close());
at("details").addEventListener("close", () => { view.open = null; });

if (sessionStorage.getItem(TOKEN)) begin();
else signOut();
