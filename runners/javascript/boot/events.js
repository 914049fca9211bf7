// `Event`, `EventTarget`, `AbortController` and `AbortSignal`, as far as programs without a page use them.

class Event {
  #isPrevented = false;
  /** Whether a listener has said that the others are not to be called. */
  isStopped = false;

  constructor(type, options = {}) {
    this.type = `${type}`;
    this.cancelable = !!options?.cancelable;
    this.target = null;
    this.timeStamp = host("monotonic") - began;
    objectDefine(this, "isStopped", { __proto__: null, enumerable: false });
  }

  get defaultPrevented() {
    return this.#isPrevented;
  }

  preventDefault() {
    if (this.cancelable) this.#isPrevented = true;
  }

  stopImmediatePropagation() {
    this.isStopped = true;
  }
}

let notify, hasListeners;

class EventTarget {
  #listeners = [];

  static {
    hasListeners = (target) => target.#listeners.length > 0;
    notify = (target, event) => {
      event.target = target;
      const own = target[`on${event.type}`];
      if (typeof own === "function") callListener(own, target, event);
      const listeners = arraySlice(target.#listeners);
      for (let at = 0; at < listeners.length && !event.isStopped; at++) {
        const { type, listener, isOnce } = listeners[at];
        if (type !== event.type || !arrayIncludes(target.#listeners, listeners[at])) continue;
        if (isOnce) target.#remove(arrayIndexOf(target.#listeners, listeners[at]));
        callListener(listener, target, event);
      }
      return !event.defaultPrevented;
    };
  }

  addEventListener(type, listener, options = undefined) {
    if (listener === null || listener === undefined) return;
    for (let at = 0; at < this.#listeners.length; at++) {
      if (this.#listeners[at].type === `${type}` && this.#listeners[at].listener === listener) return;
    }
    if (options?.signal?.aborted) return;
    const added = { __proto__: null, type: `${type}`, listener, isOnce: !!options?.once, release: null };
    arrayPush(this.#listeners, added);
    if (options?.signal) added.release = onAbort(options.signal, () => this.removeEventListener(type, listener));
  }

  removeEventListener(type, listener) {
    for (let at = 0; at < this.#listeners.length; at++) {
      if (this.#listeners[at].type !== `${type}` || this.#listeners[at].listener !== listener) continue;
      this.#remove(at);
      return;
    }
  }

  #remove(at) {
    const { release } = this.#listeners[at];
    arraySplice(this.#listeners, at, 1);
    if (release !== null) release();
  }

  dispatchEvent(event) {
    if (!(event instanceof Event)) throw new TypeError(`what is dispatched must be an \`Event\`, not ${kindOf(event)}`);
    return notify(this, event);
  }
}

function callListener(listener, target, event) {
  try {
    if (typeof listener === "function") apply(listener, target, [event]);
    else listener.handleEvent(event);
  } catch (error) {
    logError(`a listener of \`${event.type}\` failed`, error);
  }
}

let abort, onAbort, isSignal;
const MAKING = {};

class AbortSignal extends EventTarget {
  #isAborted = false;
  #reason = undefined;
  /** What the boot set itself does when it is aborted. */
  #actions = [];
  #onabort = null;
  /**
   * What aborts it, where that is no controller: `look` gives `{ reason }` once it is to be aborted, and `watch` has it told. It is watched
   * only while somebody wants to hear of it: a signal that nobody needs any more leaves nothing behind.
   */
  #origin;
  #unwatch = null;

  static {
    isSignal = (value) => typeof value === "object" && value !== null && #isAborted in value;
    abort = (signal, reason) => {
      if (signal.#isAborted) return;
      signal.#isAborted = true;
      signal.#reason = reason === undefined ? new DOMException("This operation was aborted", "AbortError") : reason;
      const actions = signal.#actions;
      signal.#actions = [];
      signal.#attend();
      for (let at = 0; at < actions.length; at++) actions[at](signal.#reason);
      notify(signal, new Event("abort"));
    };
    onAbort = (signal, action) => {
      if (signal.#look()) {
        action(signal.#reason);
        return () => {};
      }
      arrayPush(signal.#actions, action);
      signal.#attend();
      return () => {
        const at = arrayIndexOf(signal.#actions, action);
        if (at >= 0) arraySplice(signal.#actions, at, 1);
        signal.#attend();
      };
    };
  }

  constructor(making, origin = null) {
    super();
    if (making !== MAKING) throw new TypeError("a signal comes from an `AbortController`, `AbortSignal.timeout` or `AbortSignal.any`");
    this.#origin = origin;
  }

  get aborted() {
    return this.#look();
  }

  get reason() {
    this.#look();
    return this.#reason;
  }

  throwIfAborted() {
    if (this.#look()) throw this.#reason;
  }

  get onabort() {
    return this.#onabort;
  }

  set onabort(listener) {
    this.#onabort = listener;
    this.#attend();
  }

  addEventListener(type, listener, options = undefined) {
    super.addEventListener(type, listener, options);
    this.#attend();
  }

  removeEventListener(type, listener) {
    super.removeEventListener(type, listener);
    this.#attend();
  }

  /** Whether it is aborted: where nobody is to hear of it, that is found out by looking. */
  #look() {
    if (!this.#isAborted && this.#origin !== null && this.#unwatch === null) {
      const found = this.#origin.look();
      if (found !== null) abort(this, found.reason);
    }
    return this.#isAborted;
  }

  /** Begins or ends to watch what aborts it. */
  #attend() {
    if (this.#origin === null) return;
    const isNeeded = !this.#isAborted && (this.#actions.length > 0 || typeof this.#onabort === "function" || hasListeners(this));
    if (isNeeded && this.#unwatch === null) {
      this.#unwatch = this.#origin.watch((reason) => abort(this, reason));
    } else if (!isNeeded && this.#unwatch !== null) {
      this.#unwatch();
      this.#unwatch = null;
    }
  }

  static abort(reason) {
    const signal = new AbortSignal(MAKING);
    abort(signal, reason);
    return signal;
  }

  static timeout(delay) {
    const due = host("monotonic") + milliseconds(delay, "a timeout");
    const call = runningCall();
    const reason = () => new DOMException("The operation was aborted due to timeout", "TimeoutError");
    return new AbortSignal(MAKING, {
      __proto__: null,
      look: () => (host("monotonic") >= due ? { __proto__: null, reason: reason() } : null),
      watch: (action) => {
        const timer = addTimer(++lastTimer, max(due - host("monotonic"), 0), null, () => action(reason()), call);
        return () => clearTimer(timer);
      },
    });
  }

  static any(signals) {
    const given = [];
    for (const each of signals) {
      if (!isSignal(each)) throw new TypeError(`\`AbortSignal.any\` takes signals, not ${kindOf(each)}`);
      arrayPush(given, each);
    }
    return new AbortSignal(MAKING, {
      __proto__: null,
      look: () => {
        for (let at = 0; at < given.length; at++) if (given[at].#look()) return { __proto__: null, reason: given[at].#reason };
        return null;
      },
      watch: (action) => {
        const ends = [];
        for (let at = 0; at < given.length; at++) arrayPush(ends, onAbort(given[at], action));
        return () => {
          for (let at = 0; at < ends.length; at++) ends[at]();
        };
      },
    });
  }
}

class AbortController {
  #signal = new AbortSignal(MAKING);

  get signal() {
    return this.#signal;
  }

  abort(reason) {
    abort(this.#signal, reason);
  }
}

provide("Event", Event);
provide("EventTarget", EventTarget);
provide("AbortSignal", AbortSignal);
provide("AbortController", AbortController);
