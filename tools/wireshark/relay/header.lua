-- The header of a frame (proto/PROTOCOL.md, "Bytes on the connection"): names of types and flags, and the rules that a
-- header can break by itself.

local TYPES = {
  [1] = "HELLO", [2] = "WELCOME", [3] = "JOIN", [4] = "LEAVE", [5] = "RECEIVE", [6] = "START", [7] = "CHUNK",
  [8] = "END", [9] = "WINDOW", [10] = "RESET", [11] = "PING", [12] = "PONG", [13] = "GOAWAY", [14] = "EXTEND",
  [15] = "OBSERVE", [16] = "MIRROR",
}
local REQUEST, RESPONSE, FIN, IDEMPOTENT, REQUIRE_RECEIVER, RECEIVE = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
local FLAGS = { [REQUEST] = "REQUEST", [RESPONSE] = "RESPONSE", [FIN] = "FIN", [IDEMPOTENT] = "IDEMPOTENT",
  [REQUIRE_RECEIVER] = "REQUIRE_RECEIVER", [RECEIVE] = "RECEIVE" }

-- What a type allows: flags, whether it has a direction and a slot, and an id ("nil", "set" or "either").
local SHAPES = {
  HELLO = { 0, false, false, "nil" }, WELCOME = { 0, false, false, "nil" }, JOIN = { 0, false, true, "nil" },
  LEAVE = { 0, false, true, "set" }, RECEIVE = { 0, false, true, "nil" }, START = { 0x3f, true, true, "set" },
  CHUNK = { 0x27, true, true, "set" }, END = { 0x23, true, true, "set" }, WINDOW = { 0x03, true, true, "set" },
  RESET = { 0, false, true, "either" }, PING = { 0, false, false, "nil" }, PONG = { 0, false, false, "nil" },
  GOAWAY = { 0, false, false, "nil" }, EXTEND = { 0, false, true, "set" }, OBSERVE = { 0, false, false, "nil" },
  MIRROR = { 0, false, false, "nil" },
}

local function has(flags, bit) return math.floor(flags / bit) % 2 == 1 end

-- The rule that a header of a known type breaks by itself, or nothing.
local function fault(type_name, flags, slot, has_id)
  local shape = SHAPES[type_name]
  if flags > 0x3f then return "flag bits that are not named are zero" end
  for bit = 0, 5 do
    if has(flags, 2 ^ bit) and not has(shape[1], 2 ^ bit) then
      return "a flag stands on a frame where it has no meaning"
    end
  end
  if shape[2] then
    if has(flags, REQUEST) == has(flags, RESPONSE) then
      return "START, CHUNK, END and WINDOW have exactly one of REQUEST and RESPONSE"
    end
    local misplaced = has(flags, RESPONSE) and (has(flags, IDEMPOTENT) or has(flags, REQUIRE_RECEIVER))
    if has(flags, RECEIVE) and not (has(flags, RESPONSE) and (type_name == "END" or has(flags, FIN))) then
      misplaced = true
    end
    if misplaced then return "a flag stands on a frame where it has no meaning" end
  end
  if shape[3] and slot == 0 then return "a frame of a client has a slot of 1 or more" end
  if not shape[3] and slot ~= 0 then return "a frame of the connection has slot 0" end
  if shape[4] == "set" and not has_id then return "a frame of an exchange has its request id, LEAVE a client id" end
  if shape[4] == "nil" and has_id then return "a frame that names no exchange has the nil id" end
end

local function flag_names(flags)
  local found = {}
  for bit = 0, 7 do
    if has(flags, 2 ^ bit) then found[#found + 1] = FLAGS[2 ^ bit] or string.format("0x%02x", 2 ^ bit) end
  end
  return table.concat(found, "|")
end

return {
  BYTES = 24, TYPES = TYPES, FLAGS = FLAGS, REQUEST = REQUEST, RESPONSE = RESPONSE, FIN = FIN, RECEIVE = RECEIVE,
  has = has, fault = fault, flag_names = flag_names,
}
