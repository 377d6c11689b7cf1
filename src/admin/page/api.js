// The native API, to be read: what /openapi.json says, and nothing else. Every text is only ever set as text.

const METHODS = ["get", "post", "put", "patch", "delete"];
const COLOURS = { get: "good", post: "calm", put: "warn", patch: "warn", delete: "bad" };
const REF = "#/components/schemas/";

const at = (id) => document.getElementById(id);

/** Makes an element: `el("td", {class: "number"}, "5")`. Children are elements or texts. */
function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) made.setAttribute(key, value);
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** The id of a schema's place on the page. */
const anchor = (name) => `schema-${name}`;

/** What a value is, in a word; names of schemas lead to them. */
function typeOf(schema) {
  if (schema === true || schema === undefined || Object.keys(schema).length === 0) return ["any JSON"];
  if (schema.$ref) {
    const name = schema.$ref.replace(REF, "");
    return [el("a", { href: `#${anchor(name)}` }, name)];
  }
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return choices.flatMap((choice, i) => (i ? [" or ", ...typeOf(choice)] : typeOf(choice)));
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  if (schema.enum) return [schema.enum.map((word) => JSON.stringify(word)).join(" or ")];
  const types = [schema.type ?? "any JSON"].flat();
  return types.flatMap((type, i) => {
    const before = i ? [" or "] : [];
    if (type === "array" && schema.items) return [...before, "list of ", ...typeOf(schema.items)];
    if (type === "object" && schema.additionalProperties?.type) {
      return [...before, "mapping of ", ...typeOf(schema.additionalProperties)];
    }
    return [...before, type];
  });
}

/** The keys of an object, each with what it is. */
function keysOf(schema) {
  const properties = Object.entries(schema.properties ?? {});
  if (!properties.length) return el("p", {}, ...typeOf(schema));
  const rows = properties.map(([key, value]) =>
    el("tr", {},
      el("td", { class: "mono" }, key),
      el("td", {}, ...typeOf(value), schema.required?.includes(key) ? el("span", { class: "required" }, " required") : ""),
      el("td", {}, value.description ?? ""),
    ));
  return el("div", { class: "scroll" }, el("table", {}, el("tbody", {}, ...rows)));
}

function exampleOf(media) {
  const example = media?.example ?? Object.values(media?.examples ?? {})[0]?.value;
  if (example === undefined) return null;
  return el("pre", {}, typeof example === "string" ? example : JSON.stringify(example, null, 2));
}

function bodyOf(content) {
  return Object.entries(content ?? {}).flatMap(([type, media]) => [
    el("p", {}, el("span", { class: "mono" }, type), ": ", ...typeOf(media.schema)),
    exampleOf(media),
  ]);
}

function operationOf(path, method, operation) {
  const parameters = (operation.parameters ?? []).map((parameter) =>
    el("tr", {},
      el("td", { class: "mono" }, parameter.name),
      el("td", {}, `in ${parameter.in}`, parameter.required ? el("span", { class: "required" }, " required") : ""),
      el("td", {}, ...typeOf(parameter.schema)),
      el("td", {}, parameter.description ?? ""),
    ));
  const answers = Object.entries(operation.responses).map(([status, answer]) =>
    el("tr", {},
      el("td", { class: "mono" }, status),
      el("td", {}, answer.description, ...bodyOf(answer.content)),
    ));
  return el("details", { class: "operation", id: operation.operationId },
    el("summary", {},
      el("span", { class: `method ${COLOURS[method]}` }, method.toUpperCase()),
      el("span", { class: "path" }, path),
      el("span", { class: "summary" }, operation.summary),
    ),
    operation.description ? el("p", {}, operation.description) : null,
    parameters.length ? [el("h3", {}, "Parameters"), el("table", {}, el("tbody", {}, ...parameters))] : null,
    operation.requestBody ? [el("h3", {}, "Body"), ...bodyOf(operation.requestBody.content)] : null,
    el("h3", {}, "Answers"),
    el("table", {}, el("tbody", {}, ...answers)),
  );
}

function show(document_) {
  at("version").textContent = `API of version ${document_.info.version}`;
  at("about").textContent = document_.info.description;
  const byTag = new Map(document_.tags.map((tag) => [tag.name, { tag, operations: [] }]));
  for (const [path, item] of Object.entries(document_.paths)) {
    for (const method of METHODS.filter((known) => item[known])) {
      byTag.get(item[method].tags[0]).operations.push(operationOf(path, method, item[method]));
    }
  }
  for (const { tag, operations } of byTag.values()) {
    at("operations").append(el("section", {}, el("h2", {}, tag.name), el("p", {}, tag.description ?? ""), ...operations));
  }
  const schemas = Object.entries(document_.components.schemas).map(([name, schema]) =>
    el("details", { class: "schema", id: anchor(name) },
      el("summary", { class: "mono" }, name),
      schema.description ? el("p", {}, schema.description) : null,
      keysOf(schema),
    ));
  at("schemas").append(...schemas);
}

/** Opens what the address names. */
function reveal() {
  const target = location.hash && at(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  target.open = true;
  target.scrollIntoView();
}

function find() {
  const words = at("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const operation of document.querySelectorAll("details.operation")) {
    const text = operation.querySelector("summary").textContent.toLowerCase();
    operation.hidden = !words.every((word) => text.includes(word));
  }
  for (const section of at("operations").children) {
    section.hidden = ![...section.querySelectorAll("details")].some((operation) => !operation.hidden);
  }
}

at("find").addEventListener("input", find);
addEventListener("hashchange", reveal);
try {
  const answer = await fetch("openapi.json");
  if (!answer.ok) throw new Error(`openapi.json: ${answer.status}`);
  show(await answer.json());
  reveal();
} catch (error) {
  at("trouble").textContent = `The API's description could not be read: ${error.message}`;
}
