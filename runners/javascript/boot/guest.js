// The entries by which the host enters the guest. None throws: what a plugin throws becomes a failure.

/** The entry module's exports, once it is evaluated; or what is wrong with it, as the failure's text. */
let plugin = null;
let entryPoint = "";
let loadFailure = null;
/** What it brings, once that was asked. */
let description = null;

/** Evaluates the plugin's modules, with `tenon` before them, whose exports it takes from `__tenon`. */
function load(entry) {
  entryPoint = stringStartsWith(entry, "./") ? stringSlice(entry, 2) : entry;
  isLoading = true;
  objectDefine(globalThis, "__tenon", { __proto__: null, value: tenon, configurable: true });
  loadModules();
}

async function loadModules() {
  try {
    await import("tenon");
    const { plugin: imported } = await import("<plugin>");
    if (objectHas(imported, "then")) {
      throw wrong(`\`${entryPoint}\``, "`then` is no name for an export, since whoever imports the module would call it: name it otherwise");
    }
    plugin = imported;
  } catch (error) {
    logError("the plugin could not be loaded", error);
    loadFailure = sourceFailure(error);
  } finally {
    isLoading = false;
  }
}

/** Where the error is in the plugin's source, and its words. */
function sourceFailure(error) {
  if (isFailure(error) && error.code === "plugin_source") return failureText(errorWords(error), "plugin_source");
  const place = placeOf(error);
  const where = place === null ? `\`${entryPoint}\`` : `\`${place.file}\`, line ${place.line}`;
  let name = "";
  try {
    if (isError(error) && typeof error.name === "string") name = `${error.name}: `;
  } catch {}
  const words = errorWords(error);
  const hint = stringEndsWith(words, "in module 'tenon'") ? `: \`tenon\` has ${listOfNames(objectKeys(tenon))}` : "";
  return failureText(`${where}: ${name}${words}${hint}`, "plugin_source");
}

function describeText() {
  if (loadFailure !== null) return `-${loadFailure}`;
  if (plugin === null) {
    return `-${failureText(`\`${entryPoint}\`: it waits for something while it is loaded: do what takes time in \`start\``, "plugin_source")}`;
  }
  try {
    description ??= jsonOf(describe(plugin, entryPoint), "what the plugin brings", "description_too_large");
    return `+${description}`;
  } catch (error) {
    if (!isFailure(error)) logError("the plugin could not be described", error);
    return `-${isFailure(error) ? failureText(errorWords(error), error.code) : sourceFailure(error)}`;
  }
}

/** What a call comes to, or a promise of that. */
function dispatch({ kind, name }, parameters) {
  switch (kind) {
    case "function":
      return callFunction(name, parameters);
    case "routine":
      return ended(apply(found(routines, "routine", name), undefined, []));
    case "event":
      return handleEvent(name, parameters);
    case "start":
    case "stop":
      return callHook(kind, []);
    case "self-test":
      return callHook("selfTest", []);
    case "migrate": {
      if (hooks.migrate === undefined) throw new Failure("the plugin has no `migrate`", "unknown_function");
      return callHook("migrate", [parameters.from, parameters.to]);
    }
    default:
      throw new Failure(`there are no calls of kind \`${kind}\``, "unknown_function");
  }
}

function callHook(name, values) {
  return hooks[name] === undefined ? undefined : ended(apply(hooks[name], undefined, values));
}

/** What a hook or a routine gives is waited for, and is nothing. */
async function ended(result) {
  await result;
}

function found(members, kind, name) {
  const member = members.get(name);
  if (member === undefined) throw new Failure(`the plugin has no ${kind} \`${name}\``, "unknown_function");
  return member;
}

/** Calls a function with its parameters by name; what is wrong with them is told in the words that plugins in Python have. */
function callFunction(name, given) {
  const { action, signature } = found(functions, "function", name);
  const { parameters, isObject, isOpen } = signature;
  const values = [];
  const missing = [];
  let taken = 0;
  for (let at = 0; at < parameters.length; at++) {
    const { name: parameter, isOptional } = parameters[at];
    const isGiven = objectHas(given, parameter);
    if (isGiven) taken++;
    else if (!isOptional) arrayPush(missing, `'${parameter}'`);
    arrayPush(values, isGiven ? given[parameter] : undefined);
  }
  if (!isOpen) {
    const names = objectKeys(given);
    for (let at = 0; at < names.length && taken < names.length; at++) {
      if (!isParameter(signature, names[at])) throw new TypeError(`${name}() got an unexpected keyword argument '${names[at]}'`);
    }
  }
  if (missing.length > 0) {
    throw new TypeError(`${name}() missing ${missing.length} required positional argument${missing.length > 1 ? "s" : ""}: ${enumerated(missing)}`);
  }
  return apply(action, undefined, isObject ? [given] : values);
}

/** `'a'`, `'a' and 'b'`, `'a', 'b', and 'c'`. */
function enumerated(names) {
  if (names.length < 3) return arrayJoin(names, " and ");
  return `${arrayJoin(arraySlice(names, 0, -1), ", ")}, and ${names[names.length - 1]}`;
}

/** An event of another device: every handler that asked for it is called, and fails together with others once all were. */
async function handleEvent(name, payload) {
  const call = runningCall();
  const from = caller() ?? "";
  // What precedes the first `/` is no part of the event's own name.
  const own = stringSlice(name, stringIndexOf(name, "/") + 1);
  const errors = [];
  for (let at = 0; at < handlers.length; at++) {
    const { action, device, event } = handlers[at];
    if (!isMatched(event, own) || !isMatched(device, from)) continue;
    try {
      await runFor(call, () => apply(action, undefined, [{ device: from, event: name, payload }]));
    } catch (error) {
      arrayPush(errors, error);
    }
  }
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new AggregateError(errors, `handlers of \`${name}\` failed`);
}

/** Whether a text is of a pattern in which `*` stands for any run of characters. */
function isMatched(pattern, text) {
  const pieces = parts(pattern, "*");
  if (pieces.length === 1) return pattern === text;
  const last = pieces[pieces.length - 1];
  if (!stringStartsWith(text, pieces[0])) return false;
  let at = pieces[0].length;
  for (let each = 1; each < pieces.length - 1; each++) {
    at = stringIndexOf(text, pieces[each], at);
    if (at < 0) return false;
    at += pieces[each].length;
  }
  return text.length - last.length >= at && stringEndsWith(text, last);
}

globalThis.__guest = {
  __proto__: null,
  load,
  describe: describeText,
  call: beginCall,
  settle: (result) => settleCall(current, result),
  wait: awaitCall,
  takeOutcome,
  deliver,
  cancel: cancelCall,
  /** A promise that was rejected in this turn and that nobody handles. */
  rejected: (reason) => logError("a promise was rejected, and nobody handled that", reason),
};
