// The module `tenon`. The boot set evaluates it before the plugin, which finds nothing of the hand-over any more.
const given = globalThis.__tenon;
delete globalThis.__tenon;

export const { device, emit, log, state, config, invoke, invokeRemote, discover, env, secret, caller, thisCall, sleep, Failure } = given;
