// What the comment `/** … */` before a function says of it, and JSON Schema of its types.

/** Where a line of a comment ends besides: before a tag of the comment. */
const BEFORE_TAG = /\s+(?=@(?:param|arg|argument|returns?|desc|description)\s)/g;

/** `{ description, parameters: { name: { type, description, isOptional } } }` of a comment. */
function readComment(comment) {
  const lines = parts(replaced(BEFORE_TAG, stringSlice(comment, 3, -2), () => "\n"), "\n");
  const texts = [];
  for (let at = 0; at < lines.length; at++) arrayPush(texts, stringTrim(matched(/^\s*\*?(.*)$/, stringTrim(lines[at]))?.[1] ?? ""));
  const found = { description: "", parameters: { __proto__: null } };
  let tag = "description";
  let content = [];
  const end = () => {
    if (tag === "description" || tag === "desc") found.description = joined([found.description, joined(content)]);
    else if (tag === "param" || tag === "arg" || tag === "argument") readParameter(joined(content), found.parameters);
  };
  for (let at = 0; at < texts.length; at++) {
    const begun = matched(/^@(\w+)\s*(.*)$/, texts[at]);
    if (begun === null) {
      arrayPush(content, texts[at]);
    } else {
      end();
      tag = begun[1];
      content = [begun[2]];
    }
  }
  end();
  return found;
}

/** Lines as one text; an empty line stays a break. */
function joined(lines) {
  let text = "";
  let isBroken = false;
  for (let at = 0; at < lines.length; at++) {
    if (lines[at] === "") {
      isBroken = text !== "";
      continue;
    }
    text += text === "" ? lines[at] : (isBroken ? "\n" : " ") + lines[at];
    isBroken = false;
  }
  return text;
}

/** `{type} name description`, `{type} [name=default] description`; of `options.name` the last part counts. */
function readParameter(tag, into) {
  let type = null;
  let rest = tag;
  if (stringStartsWith(tag, "{")) {
    const end = endOf(tag, 1, "}");
    type = stringTrim(stringSlice(tag, 1, end));
    rest = stringTrim(stringSlice(tag, end + 1));
  }
  const isBracketed = stringStartsWith(rest, "[");
  const end = isBracketed ? endOf(rest, 1, "]") : (matched(/\s|$/, rest)?.index ?? rest.length);
  const within = isBracketed ? stringSlice(rest, 1, end) : stringSlice(rest, 0, end);
  const path = parts(stringTrim(parts(within, "=")[0]), ".");
  const name = path[path.length - 1];
  if (name === "") return;
  const about = matched(/^\s*(?:-\s+)?([^]*)$/, stringSlice(rest, isBracketed ? end + 1 : end))?.[1] ?? "";
  // `@param {object} options` and then `options.name`: the object itself is no parameter.
  into[name] = { type, description: stringTrim(about), isOptional: isBracketed || (type !== null && stringEndsWith(type, "=")) };
}

const NAMED_TYPES = {
  __proto__: null,
  number: "number", float: "number", double: "number", integer: "integer", int: "integer", string: "string",
  boolean: "boolean", bool: "boolean", object: "object", array: "array", record: "object", readonlyarray: "array",
};
const TYPE_TOKEN = /\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|-?\d[\d.]*|[A-Za-z_$][\w$.]*|\[\]|=>|[^\s])/y;

/** The schema of a type, as `{ schema, unknown }`; `unknown` is the first name that stands for nothing here. */
function schemaOfType(type) {
  const tokens = [];
  TYPE_TOKEN.lastIndex = 0;
  for (let found; (found = regexpExec(TYPE_TOKEN, type)) !== null; ) arrayPush(tokens, found[1]);
  const reader = { __proto__: null, tokens, at: 0, unknown: null };
  const schema = readUnion(reader);
  if (tokens[reader.at] === "=") reader.at += 1;
  if (reader.at < tokens.length) return { schema: {}, unknown: type };
  return { schema, unknown: reader.unknown };
}

function readUnion(reader) {
  const members = [];
  const literals = [];
  let isNullable = false;
  let isAnything = false;
  do {
    const member = readMember(reader);
    if (member.isNull) isNullable = true;
    else if (member.literal !== undefined) arrayPush(literals, member.literal);
    else if (member.schema !== undefined) arrayPush(members, member.schema);
    if (member.isNullable) isNullable = true;
    if (member.schema !== undefined && objectKeys(member.schema).length === 0) isAnything = true;
  } while (take(reader, "|"));
  if (isAnything) return {};
  if (literals.length > 0) arrayPush(members, ofLiterals(literals));
  if (isNullable) arrayPush(members, { type: "null" });
  return members.length === 0 ? {} : members.length === 1 ? members[0] : { anyOf: members };
}

function ofLiterals(literals) {
  const kind = typeof literals[0];
  for (let at = 0; at < literals.length; at++) if (typeof literals[at] !== kind) return { enum: literals };
  return { type: kind, enum: literals };
}

/** One member of a union: `{ schema }`, `{ literal }` or `{ isNull }`; nothing for `undefined`. */
function readMember(reader) {
  let isNullable = false;
  while (take(reader, "?") || take(reader, "!")) isNullable ||= reader.tokens[reader.at - 1] === "?";
  let member = readPrimary(reader);
  while (take(reader, "[]")) member = { schema: { type: "array", items: member.schema ?? ofMember(member) } };
  return isNullable ? { ...member, isNullable } : member;
}

function ofMember(member) {
  return member.isNull ? { type: "null" } : member.literal === undefined ? {} : ofLiterals([member.literal]);
}

function readPrimary(reader) {
  const token = reader.tokens[reader.at++];
  if (token === undefined) return { schema: {} };
  if (token === "(") {
    const schema = readUnion(reader);
    take(reader, ")");
    return { schema };
  }
  if (token === "{") return { schema: readFields(reader) };
  if (token === "*") return { schema: {} };
  if (token[0] === '"' || token[0] === "'") return { literal: evaluate(token) };
  if (matched(/^-?\d/, token)) return { literal: +token };
  switch (token) {
    case "null":
      return { isNull: true };
    case "undefined":
    case "void":
      return {};
    case "true":
      return { literal: true };
    case "false":
      return { literal: false };
    case "any":
    case "unknown":
    case "mixed":
      return { schema: {} };
  }
  const named = stringEndsWith(token, ".") ? stringSlice(token, 0, -1) : token;
  const type = NAMED_TYPES[stringLower(named)];
  if (type === undefined) reader.unknown ??= token;
  const argumentsOf = take(reader, "<") ? readArguments(reader) : [];
  if (type === undefined) return { schema: {} };
  if (type === "array" && argumentsOf.length === 1) return { schema: { type, items: argumentsOf[0] } };
  if (type === "object" && argumentsOf.length === 2) return { schema: { type, additionalProperties: argumentsOf[1] } };
  return { schema: { type } };
}

function readArguments(reader) {
  const found = [];
  do arrayPush(found, readUnion(reader));
  while (take(reader, ","));
  take(reader, ">");
  return found;
}

/** `name: type, other?: type }`. */
function readFields(reader) {
  const properties = {};
  const required = [];
  while (reader.at < reader.tokens.length && !take(reader, "}")) {
    const token = reader.tokens[reader.at++];
    if (token === "," || token === ";") continue;
    const name = token[0] === '"' || token[0] === "'" ? evaluate(token) : token;
    const isOptional = take(reader, "?");
    const schema = take(reader, ":") ? readUnion(reader) : {};
    objectDefine(properties, name, { __proto__: null, value: schema, writable: true, configurable: true, enumerable: true });
    if (!isOptional) arrayPush(required, name);
  }
  return { type: "object", properties, required };
}

function take(reader, token) {
  if (reader.tokens[reader.at] !== token) return false;
  reader.at += 1;
  return true;
}

/** What stands before the name of a function that is declared, at the end of a text. */
const BEFORE_NAME = /(?:^|[^\w$.])((?:export\s+)?(?:default\s+)?)(?:((?:async\s+)?function\s*\*?\s*)|(?:const|let|var)\s+)$/;
/** The most characters that this has. */
const BEFORE_NAME_MAX = 80;

/**
 * The declaration of a function in a module: `{ comment, at, isExact }`, comment null where there is none; null where it is not
 * found. `isExact` says that the function's very text stands there; one that another function made has the name alone.
 */
function declarationOf(source, name, action) {
  const own = functionText(action);
  let likely = null;
  for (let at = stringIndexOf(source, name); at >= 0; at = stringIndexOf(source, name, at + 1)) {
    const before = matched(BEFORE_NAME, stringSlice(source, max(0, at - BEFORE_NAME_MAX), at));
    if (before === null) continue;
    const end = at + name.length;
    const assigned = matched(/^\s*=\s*/, stringSlice(source, end, end + BEFORE_NAME_MAX));
    if (before[2] === undefined ? assigned === null : matched(/^[\w$]/, source[end] ?? "") !== null) continue;
    const text = before[2] === undefined ? end + assigned[0].length : at - before[2].length;
    const start = before[2] === undefined ? at - matched(/\S+\s+$/, before[0])[0].length : text;
    const isExact = stringStartsWith(source, own, text);
    if (isExact || likely === null) likely = { at: start - before[1].length, isExact };
    if (isExact) break;
  }
  if (likely === null) return null;
  return { comment: commentBefore(source, likely.at), at: likely.at, isExact: likely.isExact };
}

/** The comment that ends right before a place. */
function commentBefore(source, at) {
  let end = at;
  while (end > 0 && stringTrim(source[end - 1]) === "") end--;
  const begun = stringSlice(source, max(0, end - 2), end) === "*/" ? stringLastIndexOf(source, "/**", end - 2) : -1;
  return begun < 0 || stringIndexOf(source, "*/", begun) !== end - 2 ? null : stringSlice(source, begun, end);
}
