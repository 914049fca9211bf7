// What a plugin brings: its exports become functions, events, routines and subscriptions, and the calls find them here.

/** Hooks, by the name of their export. */
const HOOKS = ["start", "stop", "selfTest", "migrate"];
/** Exports that say something of others, unless they are functions. */
const DECLARATIONS = ["schema", "events", "routines", "subscriptions", "labels", "tags"];
/** The longest interval of a routine, in nanoseconds. */
const INTERVAL_MAX = 2 ** 53 - 1;

const functions = ownMap();
const routines = ownMap();
const handlers = [];
const hooks = { __proto__: null };

/** What the module's exports bring. Throws failures of code `plugin_source`. */
function describe(namespace, entry) {
  const sources = new Sources(entry);
  const { here } = sources;
  const exported = { __proto__: null };
  const declared = { __proto__: null };
  const names = objectKeys(namespace);
  for (let at = 0; at < names.length; at++) {
    const name = names[at];
    const value = namespace[name];
    if (name === "default") throw wrong(here, "`export default` is no function of a plugin: export each function by its name, as `export function read() { … }`");
    if (typeof value === "function") exported[name] = value;
    else if (arrayIncludes(HOOKS, name)) throw wrong(here, `\`${name}\` is a hook and has to be a function`);
    else if (arrayIncludes(DECLARATIONS, name)) declared[name] = objectOr(value, here, `\`${name}\``);
  }
  const described = {
    functions: [],
    events: describeEvents(declared.events ?? {}, here),
    routines: describeRoutines(declared.routines ?? {}, exported, sources),
    subscriptions: describeSubscriptions(declared.subscriptions ?? {}, exported, sources),
  };
  for (let at = 0; at < HOOKS.length; at++) {
    hooks[HOOKS[at]] = exported[HOOKS[at]];
    delete exported[HOOKS[at]];
  }
  const callable = objectKeys(exported);
  const abouts = ["schema", "labels", "tags"];
  for (let each = 0; each < abouts.length; each++) {
    const part = abouts[each];
    const about = objectKeys(declared[part] ?? {});
    for (let at = 0; at < about.length; at++) {
      if (exported[about[at]] === undefined) throw wrong(here, `\`${part}\` names \`${about[at]}\`, which is no exported function`);
    }
  }
  for (let at = 0; at < callable.length; at++) {
    arrayPush(described.functions, describeFunction(callable[at], exported[callable[at]], declared, sources));
  }
  return described;
}

function describeFunction(name, action, declared, sources) {
  const { comment, place } = sources.find(name, action);
  const signature = signatureAt(action, name, place);
  const told = comment === null ? { description: "", parameters: { __proto__: null } } : readComment(comment);
  for (let at = 0; at < signature.parameters.length; at++) {
    signature.parameters[at].isOptional ||= told.parameters[signature.parameters[at].name]?.isOptional === true;
  }
  const own = declared.schema?.[name];
  const parameters = own === undefined ? schemaOf(name, signature, told, place) : ownSchema(name, signature, own, place);
  const description = typeof own?.description === "string" ? own.description : told.description;
  functions.set(name, { __proto__: null, action, signature });
  return {
    name,
    description: wellFormed(description),
    parameters,
    labels: labelsOf(declared.labels?.[name] ?? {}, `function \`${name}\``, place),
    tags: textsOf(declared.tags?.[name] ?? [], `the tags of function \`${name}\``, place),
  };
}

function signatureAt(action, name, place) {
  try {
    return signatureOf(action);
  } catch (error) {
    throw wrong(place, `function \`${name}\`: ${error.message}`);
  }
}

/** The schema that comment and signature tell. */
function schemaOf(name, signature, told, place) {
  const properties = { __proto__: null };
  const required = [];
  for (let at = 0; at < signature.parameters.length; at++) {
    const { name: parameter, isOptional, literal } = signature.parameters[at];
    const about = told.parameters[parameter];
    const byDefault = literal === undefined ? null : literalOf(literal);
    let schema = {};
    if (about !== undefined && about.type !== null) {
      const typed = schemaOfType(about.type);
      schema = typed.schema;
      if (typed.unknown !== null) {
        writeLog("warn", "plugin", `${place}: callers are not told what \`${parameter}\` of \`${name}\` is: \`${typed.unknown}\` is no type that JSON has`);
      }
    } else if (byDefault !== null) {
      schema = kindOfDefault(byDefault.value);
    }
    if (about !== undefined && about.description !== "") schema.description = wellFormed(about.description);
    if (byDefault !== null) schema.default = byDefault.value;
    if (!isOptional) arrayPush(required, parameter);
    properties[parameter] = schema;
  }
  return { type: "object", properties, required };
}

function kindOfDefault(value) {
  if (value === null) return {};
  return { type: isArray(value) ? "array" : typeof value };
}

/** The schema that the export `schema` has for a function, with what a description needs. */
function ownSchema(name, signature, own, place) {
  const what = `the schema of function \`${name}\``;
  const given = { ...objectOr(own, place, what) };
  delete given.description;
  if ((given.type ?? "object") !== "object") throw wrong(place, `${what} has to be of type \`object\`: its \`properties\` are the parameters`);
  const properties = objectOr(given.properties ?? {}, place, `\`properties\` in ${what}`);
  const known = objectKeys(properties);
  for (let at = 0; at < known.length && !signature.isOpen; at++) {
    if (!isParameter(signature, known[at])) throw wrong(place, `${what} names \`${known[at]}\`, which the function does not take`);
  }
  const required = [];
  for (let at = 0; at < signature.parameters.length; at++) {
    if (!signature.parameters[at].isOptional) arrayPush(required, signature.parameters[at].name);
  }
  const complete = { ...given, type: "object", properties, required: given.required ?? required };
  try {
    return jsonParse(jsonOf(complete, what));
  } catch (error) {
    throw wrong(place, error.message);
  }
}

function isParameter(signature, name) {
  for (let at = 0; at < signature.parameters.length; at++) if (signature.parameters[at].name === name) return true;
  return false;
}

function describeEvents(declared, here) {
  const described = [];
  const names = objectKeys(declared);
  for (let at = 0; at < names.length; at++) {
    const what = `event \`${names[at]}\``;
    const event = known(declared[names[at]], ["description", "payload_schema", "labels", "tags"], here, what);
    let schema = null;
    try {
      if (event.payload_schema !== undefined) schema = jsonParse(jsonOfObject(event.payload_schema, `\`payload_schema\` of ${what}`));
    } catch (error) {
      throw wrong(here, error.message);
    }
    arrayPush(described, {
      name: names[at],
      description: textOr(event.description, here, `the description of ${what}`),
      payload_schema: schema,
      labels: labelsOf(event.labels ?? {}, what, here),
      tags: textsOf(event.tags ?? [], `the tags of ${what}`, here),
    });
  }
  return described;
}

function describeRoutines(declared, exported, sources) {
  const described = [];
  const names = objectKeys(declared);
  for (let at = 0; at < names.length; at++) {
    const name = names[at];
    const what = `routine \`${name}\``;
    const routine = known(declared[name], ["every", "cadence"], sources.here, what);
    const action = taken(exported, name, "routines", sources.here);
    const { place } = sources.find(name, action);
    const { parameters, isObject } = signatureAt(action, name, place);
    for (let each = 0; each < parameters.length; each++) {
      if (!parameters[each].isOptional || isObject) throw wrong(place, `${what} takes \`${parameters[each].name}\`, and a routine is called without parameters`);
    }
    const every = typeof routine.every === "string" ? matched(/^\d+(?:\.\d+)?[a-z]+$/, routine.every) : null;
    if (every === null) throw wrong(sources.here, `${what} needs \`every\`, a text with a unit, as "10s" or "500ms"`);
    const cadence = routine.cadence ?? "fixed-rate";
    if (cadence !== "fixed-rate" && cadence !== "fixed-delay") throw wrong(sources.here, `\`cadence\` of ${what} is "fixed-rate" or "fixed-delay"`);
    let interval;
    try {
      interval = nanoseconds(routine.every, `\`every\` of ${what}`);
    } catch (error) {
      throw wrong(sources.here, error.message);
    }
    routines.set(name, action);
    arrayPush(described, { name, interval_ns: min(interval, INTERVAL_MAX), cadence });
  }
  return described;
}

function describeSubscriptions(declared, exported, sources) {
  const described = [];
  const names = objectKeys(declared);
  for (let at = 0; at < names.length; at++) {
    const name = names[at];
    const what = `subscription \`${name}\``;
    const { device = "*", event = "*" } = known(declared[name], ["device", "event"], sources.here, what);
    const action = taken(exported, name, "subscriptions", sources.here);
    if (typeof device !== "string" || typeof event !== "string") throw wrong(sources.here, `\`device\` and \`event\` of ${what} are texts`);
    arrayPush(handlers, { __proto__: null, action, device, event: stringStartsWith(event, "event/") ? stringSlice(event, 6) : event });
    arrayPush(described, { name, device, event });
  }
  return described;
}

/** The exported function that a routine or subscription names, which then is no function that callers call. */
function taken(exported, name, part, here) {
  const action = exported[name];
  if (action === undefined) throw wrong(here, `\`${part}\` names \`${name}\`, which is no exported function`);
  delete exported[name];
  return action;
}

function known(value, keys, here, what) {
  const given = objectKeys(objectOr(value, here, what));
  for (let at = 0; at < given.length; at++) {
    if (!arrayIncludes(keys, given[at])) throw wrong(here, `${what} has \`${given[at]}\`, and may have ${listOfNames(keys)}`);
  }
  return value;
}

function listOfNames(names) {
  return `\`${arrayJoin(names, "`, `")}\``;
}

function objectOr(value, place, what) {
  if (typeof value === "object" && value !== null && !isArray(value)) return value;
  throw wrong(place, `${what} must be an object, not ${kindOf(value)}`);
}

function textOr(value, place, what) {
  if (value === undefined) return "";
  if (typeof value !== "string") throw wrong(place, `${what} must be a string, not ${kindOf(value)}`);
  return wellFormed(value);
}

function labelsOf(labels, what, place) {
  const kept = { __proto__: null };
  const keys = objectKeys(objectOr(labels, place, `the labels of ${what}`));
  for (let at = 0; at < keys.length; at++) {
    const value = labels[keys[at]];
    kept[keys[at]] = typeof value === "string" ? wellFormed(value) : textsOf(value, `label \`${keys[at]}\` of ${what}`, place);
  }
  return kept;
}

function textsOf(values, what, place) {
  const kept = [];
  if (!isArray(values)) throw wrong(place, `${what} must be an array of strings, not ${kindOf(values)}`);
  for (let at = 0; at < values.length; at++) arrayPush(kept, textOr(values[at] ?? null, place, `each of ${what}`));
  return kept;
}

const IMPORTING = ["from", "import"];
const IMPORTED = /(?:from|import)\s*["'](\.[^"'\n]+)["']/y;

/** One of the plugin's modules. What is looked for in it is found in one pass, once somebody asks. */
class Source {
  #declarations = null;
  #lines = null;
  #imports = null;

  constructor(path, text) {
    this.path = path;
    this.text = text;
  }

  /** Where it declares a function, as `declarationAt` tells it; null where it does not. */
  find(name, own) {
    this.#declarations ??= declarationsOf(this.text);
    const places = mapGet(this.#declarations, name) ?? [];
    let likely = null;
    for (let at = 0; at < places.length; at++) {
      const found = declarationAt(this.text, places[at], own);
      if (found.isExact) return found;
      likely ??= found;
    }
    return likely;
  }

  /** The number of the line at a place. */
  line(at) {
    if (this.#lines === null) {
      this.#lines = [];
      for (let end = -1; (end = stringIndexOf(this.text, "\n", end + 1)) >= 0; ) arrayPush(this.#lines, end);
    }
    let low = 0;
    let high = this.#lines.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#lines[middle] < at) low = middle + 1;
      else high = middle;
    }
    return low + 1;
  }

  /** The paths of the plugin's modules that it imports. */
  imports() {
    if (this.#imports !== null) return this.#imports;
    this.#imports = [];
    for (let each = 0; each < IMPORTING.length; each++) {
      for (let at = stringIndexOf(this.text, IMPORTING[each]); at >= 0; at = stringIndexOf(this.text, IMPORTING[each], at + 1)) {
        if (isWithinWord(this.text, at)) continue;
        IMPORTED.lastIndex = at;
        const path = regexpExec(IMPORTED, this.text)?.[1];
        if (path !== undefined) arrayPush(this.#imports, resolvePath(this.path, path));
      }
    }
    return this.#imports;
  }
}

/** A place in a module, as text: the line is counted when somebody wants to know. */
class Place {
  constructor(source, at) {
    this.source = source;
    this.at = at;
  }

  toString() {
    return `\`${this.source.path}\`, line ${this.source.line(this.at)}`;
  }
}

/** What is wrong with the plugin's source, and where: `place` is a file in backticks, or a `Place`. */
function wrong(place, message) {
  return new Failure(`${place}: ${message}`, "plugin_source");
}

/** The plugin's modules, as they are looked through for comments. */
class Sources {
  #entry;
  #modules = new Map();

  constructor(entry) {
    this.#entry = entry;
    this.here = `\`${entry}\``;
  }

  /** Where a function is declared, and the comment before it: in the entry module or in one that it imports. */
  find(name, action) {
    const names = [name];
    const own = objectDescriptor(action, "name")?.value;
    if (typeof own === "string" && own !== name) arrayPush(names, own);
    const text = functionText(action);
    const paths = [this.#entry];
    let likely = null;
    for (let at = 0; at < paths.length && !likely?.isExact; at++) {
      const source = this.#module(paths[at]);
      if (source === null) continue;
      for (let each = 0; each < names.length && !likely?.isExact; each++) {
        const found = source.find(names[each], text);
        if (found !== null && (found.isExact || likely === null)) likely = { source, at: found.at, isExact: found.isExact };
      }
      const imported = source.imports();
      for (let each = 0; each < imported.length; each++) if (!arrayIncludes(paths, imported[each])) arrayPush(paths, imported[each]);
    }
    if (likely === null) return { comment: null, place: this.here };
    return { comment: commentBefore(likely.source.text, likely.at), place: new Place(likely.source, likely.at) };
  }

  #module(path) {
    if (!mapHas(this.#modules, path)) {
      const text = host("source", path);
      mapSet(this.#modules, path, text === null ? null : new Source(path, text));
    }
    return mapGet(this.#modules, path);
  }
}

/** The path within the plugin's folder that a relative specifier means. */
function resolvePath(from, specifier) {
  const path = parts(from, "/");
  arrayPop(path);
  const steps = parts(specifier, "/");
  for (let at = 0; at < steps.length; at++) {
    if (steps[at] === "..") arrayPop(path);
    else if (steps[at] !== ".") arrayPush(path, steps[at]);
  }
  return arrayJoin(path, "/");
}
