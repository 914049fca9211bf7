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

const DECLARING = ["function", "const", "let", "var"];
/** A word of `DECLARING` and the name after it; for a function `*` may stand between. */
const DECLARED = /(?:function(?:\s*\*\s*|\s+)|(?:const|let|var)\s+)([\w$]+)/y;
const ASSIGNED = /\s*=\s*/y;
/** What may stand before a declaration, at the end of a text. */
const BEFORE_DECLARED = /(export\s+)?(default\s+)?(async\s+)?$/;
/** The most characters that this has. */
const BEFORE_DECLARED_MAX = 80;

/** Where a module declares what may be functions: `[{ at, value }]` by name, `value` the place behind `=`, and null of a `function`. */
function declarationsOf(source) {
  const found = new Map();
  for (let each = 0; each < DECLARING.length; each++) {
    for (let at = stringIndexOf(source, DECLARING[each]); at >= 0; at = stringIndexOf(source, DECLARING[each], at + 1)) {
      if (isWithinWord(source, at)) continue;
      DECLARED.lastIndex = at;
      const name = regexpExec(DECLARED, source)?.[1];
      if (name === undefined) continue;
      ASSIGNED.lastIndex = DECLARED.lastIndex;
      if (each > 0 && regexpExec(ASSIGNED, source) === null) continue;
      const places = mapGet(found, name) ?? [];
      arrayPush(places, { __proto__: null, at, value: each > 0 ? ASSIGNED.lastIndex : null });
      mapSet(found, name, places);
    }
  }
  return found;
}

/** Whether a name, or what belongs to one, stands right before a place. */
function isWithinWord(source, at) {
  if (at === 0) return false;
  const code = stringAt(source, at - 1) | 32;
  return (code >= 97 && code <= 122) || matched(/[\w$.]/, source[at - 1]) !== null;
}

/**
 * What begins at one of these places, and whether it is the very text of a function. One that another function made has the name
 * alone.
 */
function declarationAt(source, { at, value }, own) {
  const before = matched(BEFORE_DECLARED, stringSlice(source, max(0, at - BEFORE_DECLARED_MAX), at));
  const text = value ?? at - (before[3] ?? "").length;
  return { at: at - before[0].length, isExact: stringStartsWith(source, own, text) };
}

/** The comment that ends right before a place, or null. */
function commentBefore(source, at) {
  let end = at;
  while (end > 0 && stringTrim(source[end - 1]) === "") end--;
  if (end < 4 || stringSlice(source, end - 2, end) !== "*/") return null;
  // A comment may have `/*` in it: it begins with the first after the end of the one before.
  let start = -1;
  for (let at = end; at > 0; ) {
    at = stringLastIndexOf(source, "/*", at - 1);
    if (at < 0 || stringIndexOf(source, "*/", at + 2) !== end - 2) break;
    start = at;
  }
  return start >= 0 && source[start + 2] === "*" ? stringSlice(source, start, end) : null;
}
