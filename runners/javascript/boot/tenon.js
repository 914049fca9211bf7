// What a plugin imports as `tenon`: `tenon.js` beside this folder exports it by these names.

const identityOf = { __proto__: null };

/** Reads `identity` once it is asked for. */
function identity(part) {
  if (identityOf.device === undefined) objectAssign(identityOf, jsonParse(host("identity")));
  return identityOf[part];
}

const device = objectFreeze({
  get id() {
    return identity("device");
  },
  get tenant() {
    return identity("tenant");
  },
  get plugin() {
    return identity("plugin");
  },
});

/** Publishes an event of this device at once. */
function emit(name, payload = {}) {
  text(name, "an event's name");
  told(host("emit", name, jsonOfObject(payload, `the payload of event \`${name}\``, "event_too_large")));
}

const log = {};
for (const level of ["trace", "debug", "info", "warn", "error"]) {
  log[level] = (...values) => writeLog(level, "plugin", formatted(values));
}
objectFreeze(log);

/** The most keys that the host tells at once. */
const KEYS_PAGE = 1000;

const state = objectFreeze({
  /** The value of a key, or `otherwise` where it has none. */
  get(key, otherwise) {
    const kept = stateBytes(key);
    return kept === null ? otherwise : jsonParse(decodeText(kept));
  },
  /** Keeps a value, as JSON. */
  set(key, value) {
    keep(key, encodeText(jsonOf(value, `the value of \`${text(key, "a key")}\``, "value_too_large")));
  },
  /** The bytes of a key, or null where it has none. */
  getBytes: stateBytes,
  /** Keeps bytes as they are. */
  setBytes(key, value) {
    const bytes = bytesOf(value);
    if (bytes === null) throw new TypeError(`the value of \`${key}\` must be bytes, not ${kindOf(value)}`);
    keep(key, bytes);
  },
  /** Removes a key. One that is not there is no failure. */
  delete(key) {
    told(host("state-delete", text(key, "a key")));
  },
  /** Every key that begins with `prefix`, in the order of their bytes. */
  keys(prefix = "") {
    text(prefix, "a prefix");
    const found = [];
    for (;;) {
      const page = jsonParse(told(host("state-keys", prefix, found.length > 0 ? found[found.length - 1] : null, KEYS_PAGE)));
      for (let at = 0; at < page.length; at++) arrayPush(found, page[at]);
      if (page.length < KEYS_PAGE) return found;
    }
  },
  /** Waits until what was kept before is on disk. */
  async flush() {
    await startOp("state-flush", { __proto__: null }).promise;
  },
});

function stateBytes(key) {
  return told(host("state-get", text(key, "a key")));
}

function keep(key, bytes) {
  text(key, "a key");
  if (lengthOf(bytes) > CROSSING_MAX) {
    throw new Failure(`the value of \`${key}\` has ${lengthOf(bytes)} bytes, more than ${CROSSING_MAX}`, "value_too_large");
  }
  told(host("state-set", key, bytes));
}

/** The plugin's settings: `config` of its manifest, and what the operator changed of it. */
function config() {
  return jsonParse(host("config"));
}

async function invokeOn(device, name, parameters, options) {
  text(name, "a function's name");
  return await startOp("invoke", {
    __proto__: null,
    device,
    function: name,
    parameters: jsonOfObject(parameters, `what \`${name}\` is called with`, "params_too_large"),
    timeout_ns: nanoseconds(options?.timeout, "a timeout"),
    on_behalf_of: onBehalfOf(),
  }).promise;
}

/** The result of a function of another plugin on this host. */
function invoke(name, parameters = {}, options = undefined) {
  return invokeOn(null, name, parameters, options);
}

/** The result of a function of another device. */
async function invokeRemote(device, name, parameters = {}, options = undefined) {
  return await invokeOn(text(device, "a device's id"), name, parameters, options);
}

/** The presence records of the devices that this host sees now. */
async function discover() {
  return await startOp("discover", { __proto__: null }).promise;
}

/** One of the host's environment variables; null where it is not set. */
async function env(name) {
  return await startOp("env", { __proto__: null, name: text(name, "a variable's name") }).promise;
}

/** One of the operator's secrets; null where there is none of that name. */
async function secret(name) {
  return await startOp("secret", { __proto__: null, name: text(name, "a secret's name") }).promise;
}

/** The device that says it makes the running call; null where it says none, or where the call is not certain. A claim: nothing vouches for it. */
function caller() {
  return runningCall()?.caller ?? null;
}

/** A function that runs another on behalf of the call that runs now, whenever that is: behind an `await` nobody else can tell. */
function thisCall() {
  const call = runningCall();
  return (action) => {
    if (typeof action !== "function") throw new TypeError(`what runs for a call must be a function, not ${kindOf(action)}`);
    return runFor(call, action);
  };
}

const tenon = objectFreeze({
  device,
  emit,
  log,
  state,
  config,
  invoke,
  invokeRemote,
  discover,
  env,
  secret,
  caller,
  thisCall,
  sleep,
  Failure,
});
