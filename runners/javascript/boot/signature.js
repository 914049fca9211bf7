// The parameters of a function, read from its source text: callers give them by name.

/** A character that begins or goes on a name or a number. */
const WORD = /[\w$\u0080-\uffff]+/y;
/** Words after which `/` begins a regular expression. */
const BEFORE_VALUE = ["return", "typeof", "instanceof", "in", "of", "new", "delete", "void", "throw", "yield", "await"];

/**
 * `{ parameters: [{ name, isOptional, literal }], isObject, isOpen }`: `literal` is the default's source; `isObject` says that
 * the function takes them as one object, and `isOpen` that it takes others as well. Throws a TypeError that says what to change.
 */
function signatureOf(action) {
  const source = functionText(action);
  if (matched(/^class(?![\w$])/, source)) throw new TypeError("a class is no function that can be called: export a function");
  if (matched(/\{\s*\[native code\]\s*\}$/, source)) {
    throw new TypeError("its parameters cannot be read, as those of a bound or built-in function: write a function that calls it");
  }
  if (matched(/^(?:async\s*)?(?:function\s*)?\*/, source)) throw new TypeError("it is a generator, which gives no result: return an array");
  let word = "";
  for (let at = afterSpace(source, 0); at < source.length; at = afterSpace(source, at)) {
    const sign = source[at];
    if (sign === "(") return counted(listOf(source, at + 1), action);
    if (sign === "=" && source[at + 1] === ">") return { parameters: [named(word)], isObject: false, isOpen: false };
    if (sign === "[") at = endOf(source, at + 1, "]") + 1;
    else if (sign === '"' || sign === "'") at = afterString(source, at);
    else {
      word = wordAt(source, at);
      at += word.length || 1;
    }
  }
  throw new TypeError("its parameters cannot be read");
}

/** What was read, if it agrees with what the engine has counted: the parameters before the first with a default. */
function counted(signature, action) {
  const { parameters, isObject } = signature;
  const length = objectDescriptor(action, "length");
  let before = 0;
  while (before < parameters.length && !parameters[before].isOptional) before++;
  // It may have been set to something else since; an object that is taken apart is one parameter.
  if (!isObject && length?.writable === false && numberIsInteger(length.value) && length.value !== before) {
    throw new TypeError("its parameters cannot be read for certain: put what its defaults are computed of into the function's body");
  }
  return signature;
}

function named(name, literal = undefined) {
  return { __proto__: null, name, isOptional: literal !== undefined, literal };
}

/** The parameters between brackets, from behind the opening one. */
function listOf(source, from) {
  const found = { parameters: [], isObject: false, isOpen: false };
  for (let at = afterSpace(source, from); source[at] !== ")"; at = afterSpace(source, at)) {
    if (at >= source.length) throw new TypeError("its parameters cannot be read");
    if (source[at] === ",") {
      at += 1;
      continue;
    }
    if (stringStartsWith(source, "...", at)) {
      throw new TypeError("it takes `...` parameters, which have no names: name each, or take one object, as `({ city, unit })`");
    }
    if (source[at] === "[") throw new TypeError("it takes an array apart where a parameter has to have a name");
    if (source[at] === "{") {
      const isOnly = found.parameters.length === 0;
      at = readPattern(source, at + 1, found);
      at = endOf(source, at, ",)");
      const rest = afterSpace(source, source[at] === "," ? at + 1 : at);
      if (!isOnly || source[rest] !== ")") {
        throw new TypeError("it takes an object apart beside other parameters: name each, or take just one object, as `({ city, unit })`");
      }
      return found;
    }
    at = readNamed(source, at, wordAt(source, at), ",)", found);
  }
  return found;
}

/** The names within `{ … }`, from behind the opening bracket; gives the place behind the closing one. */
function readPattern(source, from, found) {
  found.isObject = true;
  let at = afterSpace(source, from);
  for (; source[at] !== "}"; at = afterSpace(source, at)) {
    if (at >= source.length || source[at] === "[") throw new TypeError("it takes an object apart by computed names, which callers cannot know");
    if (source[at] === ",") {
      at += 1;
    } else if (stringStartsWith(source, "...", at)) {
      found.isOpen = true;
      at = endOf(source, at + 3, ",}");
    } else if (source[at] === '"' || source[at] === "'") {
      const end = afterString(source, at);
      at = readNamed(source, at, evaluate(stringSlice(source, at, end)), ",}", found, end);
    } else {
      at = readNamed(source, at, wordAt(source, at), ",}", found);
    }
  }
  return at + 1;
}

/** One parameter with what it is renamed to and its default; gives the place where it ends. */
function readNamed(source, from, name, stops, found, behind = from + name.length) {
  if (name === "") throw new TypeError("its parameters cannot be read");
  let at = afterSpace(source, behind);
  if (source[at] === ":") at = endOf(source, at + 1, `=${stops}`);
  if (source[at] !== "=") {
    arrayPush(found.parameters, named(name));
    return at;
  }
  const end = endOf(source, at + 1, stops);
  arrayPush(found.parameters, named(name, stringTrim(stringSlice(source, at + 1, end))));
  return end;
}

function wordAt(source, at) {
  WORD.lastIndex = at;
  return regexpExec(WORD, source)?.[0] ?? "";
}

/** The place of the next sign that is no space and no comment. */
function afterSpace(source, at) {
  for (; at < source.length; at++) {
    const sign = source[at];
    if (sign === "/" && source[at + 1] === "/") at = orEnd(source, stringIndexOf(source, "\n", at));
    else if (sign === "/" && source[at + 1] === "*") at = orEnd(source, stringIndexOf(source, "*/", at + 2)) + 1;
    else if (stringTrim(sign) !== "") break;
  }
  return at;
}

function orEnd(source, at) {
  return at < 0 ? source.length : at;
}

/** The place of the first of `stops` outside of brackets, texts and comments. */
function endOf(source, from, stops) {
  let depth = 0;
  // Whether what stands before is a value, so that `/` divides.
  let isValue = false;
  for (let at = afterSpace(source, from); at < source.length; at = afterSpace(source, at)) {
    const sign = source[at];
    if (depth === 0 && stringIncludes(stops, sign)) return at;
    if (sign === '"' || sign === "'") {
      at = afterString(source, at);
      isValue = true;
    } else if (sign === "`") {
      at = afterTemplate(source, at);
      isValue = true;
    } else if (sign === "/" && !isValue) {
      at = afterExpression(source, at);
      isValue = true;
    } else if (stringIncludes("([{", sign)) {
      depth += 1;
      at += 1;
      isValue = false;
    } else if (stringIncludes(")]}", sign)) {
      depth -= 1;
      at += 1;
      isValue = true;
    } else if ((sign === "+" || sign === "-") && source[at + 1] === sign) {
      // Behind a value or before one, it leaves what it stands by a value or none.
      at += 2;
    } else {
      const word = wordAt(source, at);
      at += word.length || 1;
      isValue = word !== "" && !arrayIncludes(BEFORE_VALUE, word);
    }
  }
  return source.length;
}

function afterString(source, from) {
  for (let at = from + 1; at < source.length; at++) {
    if (source[at] === "\\") at += 1;
    else if (source[at] === source[from]) return at + 1;
  }
  return source.length;
}

function afterTemplate(source, from) {
  for (let at = from + 1; at < source.length; at++) {
    if (source[at] === "\\") at += 1;
    else if (source[at] === "`") return at + 1;
    else if (source[at] === "$" && source[at + 1] === "{") at = endOf(source, at + 2, "}");
  }
  return source.length;
}

function afterExpression(source, from) {
  let isInClass = false;
  for (let at = from + 1; at < source.length; at++) {
    if (source[at] === "\\") at += 1;
    else if (source[at] === "[") isInClass = true;
    else if (source[at] === "]") isInClass = false;
    else if (source[at] === "/" && !isInClass) return at + 1;
  }
  return source.length;
}

const LITERAL = /\s+|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|\d[\w.]*|\.\d\w*|(?:true|false|null)(?![\w$])|[A-Za-z_$][\w$]*(?=\s*:)|[[\]{},:+-]/y;

/** The value that a default's source stands for, as `{ value }`; null where it is no literal of JSON's kinds. */
function literalOf(source) {
  for (let at = 0; at < source.length; ) {
    LITERAL.lastIndex = at;
    const found = regexpExec(LITERAL, source);
    if (found === null) return null;
    at += found[0].length;
  }
  try {
    return { value: jsonParse(jsonOf(evaluate(`(${source})`), "a default")) };
  } catch {
    return null;
  }
}
