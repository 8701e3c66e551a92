-- Wireshark's and tshark's dissector of the relay protocol (proto/PROTOCOL.md), for Wireshark 4.0 and later.
--
-- It takes TCP port 7420, and what opens with the preface on any other port. Fields bear the names that
-- `relay inspect --json` gives them, behind "relay.": relay.type, relay.request, relay.status and so on. An id is
-- compared as it is written: relay.request == 40fedd3a-bcc7-59b4-b536-916749d14bb7.
--
-- A dissector sees packets in their order once, and then again in any. What depends on earlier frames is found out
-- when a frame is seen first, and kept.

local relay = Proto("relay", "Relay")

local PORT = 7420
local PREFACE = "RELAY/1\n"
local HEADER_BYTES, BLOCK_BYTES, MIRROR_BYTES = 24, 40, 56
local PLAUSIBLE_PAYLOAD_BYTES = 16 * 1024 * 1024
local MOST_KEY_BYTES = 64

local TYPES = {
  [1] = "HELLO", [2] = "WELCOME", [3] = "JOIN", [4] = "LEAVE", [5] = "RECEIVE", [6] = "START", [7] = "CHUNK",
  [8] = "END", [9] = "WINDOW", [10] = "RESET", [11] = "PING", [12] = "PONG", [13] = "GOAWAY", [14] = "EXTEND",
  [15] = "OBSERVE", [16] = "MIRROR",
}
local CODES = {
  [0] = "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
  "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}
local KINDS = { [1] = "READ", [2] = "WRITTEN", [3] = "OPENED", [4] = "ENDED", [5] = "LOST" }
local REQUEST, RESPONSE, FIN, IDEMPOTENT, REQUIRE_RECEIVER, RECEIVE = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
local FLAGS = { [REQUEST] = "REQUEST", [RESPONSE] = "RESPONSE", [FIN] = "FIN", [IDEMPOTENT] = "IDEMPOTENT",
  [REQUIRE_RECEIVER] = "REQUIRE_RECEIVER", [RECEIVE] = "RECEIVE" }

-- ---- Fields ----

local f = {}
local function field(kind, name, title, ...)
  f[name] = ProtoField[kind]("relay." .. name, title or name, ...)
end

field("string", "preface", "Preface")
field("string", "direction", "Direction")
field("string", "type", "Type")
field("uint8", "type_number", "Type number")
field("string", "flags", "Flags")
for bit, name in pairs(FLAGS) do
  field("bool", "flag." .. name:lower(), name, 8, nil, bit)
end
field("uint16", "slot", "Slot")
field("guid", "id", "Id")
field("uint32", "bytes", "Payload bytes")
field("uint32", "known_bytes", "Payload bytes that were captured")
field("guid", "request", "Request")
field("guid", "request_id", "Request id")
field("uint32", "exchange", "Exchange, numbered")
field("framenum", "start_frame", "The exchange begins in")
field("string", "channel", "Channel")
field("guid", "channel_id", "Channel id")
field("guid", "client", "Client")
field("string", "violation", "Violation")
field("string", "payload", "Payload")
for _, name in ipairs({ "agent", "token", "method", "content_type", "message", "end", "status", "join_channel_name",
  "words", "mirror_kind" }) do
  field("string", name)
end
for _, name in ipairs({ "version", "token_bytes", "max_payload_bytes", "initial_window_bytes", "max_window_bytes",
  "max_clients_per_connection", "max_start_bytes", "heartbeat_interval_ms", "heartbeat_misses", "max_attempts",
  "key_bytes", "wait_ms", "timeout_ms", "max_extension_ms", "queue_wait_us", "attempt", "start_bytes", "body_bytes",
  "code", "retry_after_ms", "extend_ms", "snap_bytes", "mirror_lost", "mirror_type" }) do
  field("uint32", name)
end
for _, name in ipairs({ "observer", "withdraw", "may_have_run", "requeue" }) do field("bool", name) end
for _, name in ipairs({ "server_id", "join_client", "join_channel_id", "other_client", "observe_channel",
  "observe_client", "observe_request" }) do
  field("guid", name)
end
for _, name in ipairs({ "window", "mirror_connection", "mirror_time_us" }) do field("uint64", name) end
field("bytes", "ping", "Ping")
field("bytes", "body", "Body")
field("string", "metadata", "Metadata")
field("string", "metadata.key", "Key")
field("bytes", "metadata.value", "Value")

local fields = {}
for _, of_name in pairs(f) do fields[#fields + 1] = of_name end
relay.fields = fields

local expert_rule = ProtoExpert.new("relay.rule", "A rule of PROTOCOL.md is broken", expert.group.PROTOCOL,
  expert.severity.ERROR)
local expert_status = ProtoExpert.new("relay.not_ok", "An end other than OK", expert.group.RESPONSE_CODE,
  expert.severity.NOTE)
relay.experts = { expert_rule, expert_status }

local tcp_stream = Field.new("tcp.stream")

-- ---- What is known of connections ----

local streams  -- by tcp.stream: {client = "address:port", slots = {}, seen = {}}
local names    -- of channels, by their ids
local exchanges  -- by request id: {number, start_frame}
local exchange_count
local notes    -- by packet number and place: what was found out when a frame was seen first

local function forget()
  streams, names, exchanges, exchange_count, notes = {}, {}, {}, 0, {}
end
relay.init = forget
forget()

-- ---- Protobuf ----

local STATUS = { [1] = { "code", "uint" }, [2] = { "message", "string" }, [3] = { "end", "string" },
  [4] = { "may_have_run", "bool" }, [5] = { "retry_after_ms", "uint" } }
local FIELD = { [1] = { "key", "string" }, [2] = { "value", "bytes" } }
local START = { [1] = { "method", "string" }, [2] = { "content_type", "string" }, [3] = { "metadata", FIELD, true } }
local MESSAGES = {
  HELLO = { [1] = { "version", "uint" }, [2] = { "agent", "string" }, [3] = { "token", "string" },
    [4] = { "observer", "bool" } },
  WELCOME = { [1] = { "server_id", "bytes" }, [2] = { "agent", "string" }, [3] = { "max_payload_bytes", "uint" },
    [4] = { "initial_window_bytes", "uint" }, [5] = { "max_window_bytes", "uint" },
    [6] = { "max_clients_per_connection", "uint" }, [7] = { "max_start_bytes", "uint" },
    [8] = { "heartbeat_interval_ms", "uint" }, [9] = { "heartbeat_misses", "uint" }, [10] = { "max_attempts", "uint" } },
  JOIN = { [1] = { "client_id", "bytes" }, [2] = { "channel_id", "bytes" }, [3] = { "channel_name", "string" },
    [4] = { "key", "bytes" } },
  RECEIVE = { [1] = { "wait_ms", "uint" }, [2] = { "withdraw", "bool" } },
  LEAVE = STATUS,
  GOAWAY = STATUS,
  END = { [1] = { "status", STATUS }, [2] = { "metadata", FIELD, true } },
  RESET = { [1] = { "status", STATUS }, [2] = { "requeue", "bool" } },
  OBSERVE = { [1] = { "channel_id", "bytes" }, [2] = { "client_id", "bytes" }, [3] = { "request_id", "bytes" },
    [4] = { "snap_bytes", "uint" } },
}

local function is_utf8(text)
  local at = 1
  while at <= #text do
    local first = text:byte(at)
    local more, least
    if first < 0x80 then more, least = 0, 0
    elseif first >= 0xc2 and first < 0xe0 then more, least = 1, 0x80
    elseif first >= 0xe0 and first < 0xf0 then more, least = 2, 0x800
    elseif first >= 0xf0 and first < 0xf5 then more, least = 3, 0x10000
    else return false end
    if at + more > #text then return false end
    local point = more == 0 and first or first % 2 ^ (6 - more)
    for i = 1, more do
      local byte = text:byte(at + i)
      if byte < 0x80 or byte >= 0xc0 then return false end
      point = point * 64 + byte % 64
    end
    if point < least or point > 0x10ffff or (point >= 0xd800 and point < 0xe000) then return false end
    at = at + more + 1
  end
  return true
end

-- The number at `at`, exact up to 2^53 and modulo 2^32 in its low half, and what follows it; nothing where it is cut.
local function varint(bytes, at)
  local low, high, shift = 0, 0, 0
  for i = 0, 9 do
    local byte = at + i <= #bytes and bytes:byte(at + i)
    if not byte then return nil end
    if shift < 28 then low = low + byte % 128 * 2 ^ shift
    elseif shift == 28 then
      low = low + byte % 16 * 2 ^ 28
      high = math.floor(byte % 128 / 16)
    elseif shift < 63 then high = high + byte % 128 * 2 ^ (shift - 32) end
    if byte < 128 then return low, at + i + 1, high end
    shift = shift + 7
  end
  return nil
end

-- The message in `bytes`, which begin at `offset` of the payload; nothing where it is none. Values are
-- {value, offset, bytes}.
local function parse(spec, bytes, offset)
  local message = {}
  local at = 1
  while at <= #bytes do
    local start = at
    local key, high
    key, at, high = varint(bytes, at)
    if not key or key < 8 or high ~= 0 then return nil end
    local number, wire = math.floor(key / 8), key % 8
    local value
    local from = at
    if wire == 0 then
      local more
      value, at, more = varint(bytes, at)
      if not value then return nil end
      if spec[number] and spec[number][2] == "bool" then value = value ~= 0 or more ~= 0 end
    elseif wire == 1 or wire == 5 or wire == 2 then
      local size = wire == 1 and 8 or 4
      if wire == 2 then
        size, at, high = varint(bytes, at)
        if not size or high ~= 0 then return nil end
      end
      from = at
      at = at + size
      if at - 1 > #bytes then return nil end
      value = bytes:sub(from, at - 1)
    else
      return nil  -- groups: nobody writes them
    end
    local known = spec[number]
    local is_scalar = known and (known[2] == "uint" or known[2] == "bool")
    if known and (wire == 0) == (is_scalar and true or false) and (is_scalar or wire == 2) then
      if known[2] == "string" and not is_utf8(value) then return nil end
      local place = offset + from - 1
      if type(known[2]) == "table" then
        value = parse(known[2], value, place)
        if not value then return nil end
      end
      local entry = { value, offset + start - 1, at - start, place, at - from }
      if known[3] then
        message[known[1]] = message[known[1]] or {}
        table.insert(message[known[1]], entry)
      elseif type(known[2]) == "table" and message[known[1]] then
        for name, inner in pairs(value) do message[known[1]][1][name] = inner end
      else
        message[known[1]] = entry
      end
    end
  end
  return message
end

-- ---- What a payload says ----

-- Adds fields of one frame's payload to its tree.
local Writer = {}
Writer.__index = Writer

-- `entry` as parse gives it, or nothing, where `default` is shown, if there is one.
function Writer:add(name, entry, default)
  if entry and entry[1] ~= "" then
    self.tree:add(f[name], self.payload(entry[2], entry[3]), entry[1])
  elseif default ~= nil then
    self.tree:add(f[name], default):set_generated()
  end
end

function Writer:id(name, entry)
  if entry and entry[5] == 16 then self.tree:add(f[name], self.payload(entry[4], 16)) end
end

function Writer:size(name, entry, default)
  if entry and entry[5] > 0 then
    self.tree:add(f[name], self.payload(entry[4], entry[5]), entry[5])
  elseif default then
    self.tree:add(f[name], default):set_generated()
  end
end

function Writer:metadata(entries)
  for _, entry in ipairs(entries or {}) do
    local key, value = entry[1].key, entry[1].value
    local tree = self.tree:add(f.metadata, self.payload(entry[2], entry[3]), key and key[1] or "")
    if key then tree:add(f["metadata.key"], self.payload(key[4], key[5]), key[1]) end
    if value and value[5] > 0 then tree:add(f["metadata.value"], self.payload(value[4], value[5])) end
  end
end

function Writer:status(status)
  local code = status.code and status.code[1] or 0
  local name = CODES[code] or tostring(code)
  self.tree:add(f.status, name):set_generated()
  self:add("code", status.code, 0)
  self:add("message", status.message)
  self:add("end", status["end"])
  if status.may_have_run and status.may_have_run[1] then self:add("may_have_run", status.may_have_run) end
  if status.retry_after_ms and status.retry_after_ms[1] ~= 0 then self:add("retry_after_ms", status.retry_after_ms) end
  if code ~= 0 then
    local words = name .. (status["end"] and " " .. status["end"][1] or "")
    self.tree:add_proto_expert_info(expert_status, words)
    self.info = self.info .. " " .. words
  end
end

local show = {}

function show.HELLO(w, m)
  w:add("version", m.version, 0)
  w:add("agent", m.agent, "")
  if m.observer and m.observer[1] then w:add("observer", m.observer) end
  w:size("token_bytes", m.token)
end

function show.WELCOME(w, m)
  w:id("server_id", m.server_id)
  w:add("agent", m.agent, "")
  for _, name in ipairs({ "max_payload_bytes", "initial_window_bytes", "max_window_bytes",
    "max_clients_per_connection", "max_start_bytes", "heartbeat_interval_ms", "heartbeat_misses", "max_attempts" }) do
    w:add(name, m[name], 0)
  end
end

function show.JOIN(w, m)
  w:id("join_client", m.client_id)
  w:id("join_channel_id", m.channel_id)
  w:add("join_channel_name", m.channel_name)
  w:size("key_bytes", m.key, 0)
end

function show.LEAVE(w, m) w:status(m) end
show.GOAWAY = show.LEAVE

function show.RECEIVE(w, m)
  w:add("wait_ms", m.wait_ms)
  w:add("withdraw", m.withdraw, false)
end

function show.END(w, m)
  w:status(m.status and m.status[1] or {})
  w:metadata(m.metadata)
end

function show.RESET(w, m)
  w:status(m.status and m.status[1] or {})
  w:add("requeue", m.requeue, false)
end

function show.OBSERVE(w, m)
  w:id("observe_channel", m.channel_id)
  w:id("observe_client", m.client_id)
  w:id("observe_request", m.request_id)
  w:add("snap_bytes", m.snap_bytes, 0)
end

local function is_zero(range)
  return not range:bytes():tohex():find("[^0]")
end

-- Each of these says "parsed", "cut", "malformed" or "bad_start", and for the last which rule is broken.
local read = {}

local function read_message(w, type_name, payload_bytes)
  if w.payload:len() < payload_bytes then return "cut" end
  local message = parse(MESSAGES[type_name], payload_bytes > 0 and w.payload:raw() or "", 0)
  if not message then return "malformed" end
  w.message = message
  show[type_name](w, message)
  return "parsed"
end

function read.START(w, payload_bytes, flags, from_server)
  local known = w.payload:len()
  if known < BLOCK_BYTES then
    return known < payload_bytes and "cut" or "bad_start", "a START's payload begins with 40 bytes"
  end
  local block = w.payload
  local start_bytes = block(26, 2):uint()
  local head_bytes = BLOCK_BYTES + start_bytes
  if payload_bytes < head_bytes then return "bad_start", "a START is as long as the Start it announces" end
  if known < head_bytes then return "cut" end
  local message = parse(START, start_bytes > 0 and block(BLOCK_BYTES, start_bytes):raw() or "", BLOCK_BYTES)
  if not message then return "malformed" end
  if not from_server and not (is_zero(block(0, 16)) and is_zero(block(20, 6))) then
    return "bad_start", "the server's fields are zero in a START of a client"
  end
  if math.floor(flags / RESPONSE) % 2 == 1 and not (is_zero(block(16, 4)) and is_zero(block(28, 4))) then
    return "bad_start", "a RESPONSE has no timeout and no extension"
  end
  w.message = message
  w:add("method", message.method, "")
  w:add("content_type", message.content_type)
  if not is_zero(block(0, 16)) then w.tree:add(f.other_client, block(0, 16)) end
  w.tree:add(f.timeout_ms, block(16, 4))
  w.tree:add(f.queue_wait_us, block(20, 4))
  w.tree:add(f.attempt, block(24, 2))
  w.tree:add(f.start_bytes, block(26, 2))
  w.tree:add(f.max_extension_ms, block(28, 4))
  w.tree:add(f.body_bytes, payload_bytes - head_bytes):set_generated()
  if known > head_bytes then w.tree:add(f.body, block(head_bytes)) end
  w:metadata(message.metadata)
  w.info = w.info .. (message.method and " " .. message.method[1] or "")
  return "parsed"
end

function read.CHUNK(w, payload_bytes)
  w.tree:add(f.body_bytes, payload_bytes):set_generated()
  if w.payload:len() > 0 then w.tree:add(f.body, w.payload()) end
  return "parsed"
end

local function read_sized(name, bytes)
  return function(w, payload_bytes)
    if payload_bytes ~= bytes then return "malformed" end
    if w.payload:len() < bytes then return "cut" end
    w.tree:add(f[name], w.payload(0, bytes))
    return "parsed"
  end
end
read.WINDOW = read_sized("window", 8)
read.PING = read_sized("ping", 8)
read.PONG = read.PING
read.EXTEND = read_sized("extend_ms", 4)

-- ---- Frames ----

-- What the header's type allows: flags, whether it has a direction and a slot, and an id ("nil", "set" or "either").
local SHAPES = {
  HELLO = { 0, false, false, "nil" }, WELCOME = { 0, false, false, "nil" }, JOIN = { 0, false, true, "nil" },
  LEAVE = { 0, false, true, "set" }, RECEIVE = { 0, false, true, "nil" }, START = { 0x3f, true, true, "set" },
  CHUNK = { 0x27, true, true, "set" }, END = { 0x23, true, true, "set" }, WINDOW = { 0x03, true, true, "set" },
  RESET = { 0, false, true, "either" }, PING = { 0, false, false, "nil" }, PONG = { 0, false, false, "nil" },
  GOAWAY = { 0, false, false, "nil" }, EXTEND = { 0, false, true, "set" }, OBSERVE = { 0, false, false, "nil" },
  MIRROR = { 0, false, false, "nil" },
}

-- The rule that a header breaks by itself, or nothing.
local function header_fault(type_name, flags, slot, has_id)
  local shape = SHAPES[type_name]
  local function has(bit) return math.floor(flags / bit) % 2 == 1 end
  if flags > 0x3f then return "flag bits that are not named are zero" end
  for bit = 0, 5 do
    if has(2 ^ bit) and math.floor(shape[1] / 2 ^ bit) % 2 == 0 then
      return "a flag stands on a frame where it has no meaning"
    end
  end
  if shape[2] then
    if has(REQUEST) == has(RESPONSE) then
      return "START, CHUNK, END and WINDOW have exactly one of REQUEST and RESPONSE"
    end
    local misplaced = has(RESPONSE) and (has(IDEMPOTENT) or has(REQUIRE_RECEIVER))
    if has(RECEIVE) and not (has(RESPONSE) and (type_name == "END" or has(FIN))) then misplaced = true end
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
    if math.floor(flags / 2 ^ bit) % 2 == 1 then
      found[#found + 1] = FLAGS[2 ^ bit] or string.format("0x%02x", 2 ^ bit)
    end
  end
  return table.concat(found, "|")
end

-- Follows joins, and who is on the slot of a frame.
local function follow(stream, frame)
  local note = {}
  local message = frame.message
  if frame.type == "JOIN" and frame.to_server and message and not frame.fault and message.client_id
    and message.channel_id and message.client_id[5] == 16 and message.channel_id[5] == 16
    and not stream.slots[frame.slot] then
    stream.slots[frame.slot] = { client = message.client_id[1], channel = message.channel_id[1] }
    if message.channel_name then names[message.channel_id[1]] = message.channel_name[1] end
  end
  local who = stream.slots[frame.slot]
  if who then note.client, note.channel, note.name = who.client, who.channel, names[who.channel] end
  if frame.type == "LEAVE" and who and who.client == frame.id and not frame.to_server then
    stream.slots[frame.slot] = nil
  end
  if frame.to_server then
    if not stream.has_client_frame and stream.from_start and frame.type ~= "HELLO" then note.rule = "before_hello" end
    if stream.has_hello and frame.type == "HELLO" then note.rule = note.rule or "second_hello" end
    if frame.type == "WELCOME" or frame.type == "MIRROR" then note.rule = note.rule or "server_frame" end
    if frame.type == "JOIN" and stream.is_observer then note.rule = note.rule or "observer_role" end
    if frame.type == "OBSERVE" and stream.from_start and not stream.is_observer then
      note.rule = note.rule or "observer_role"
    end
    if frame.type == "HELLO" and message and message.observer and message.observer[1] then stream.is_observer = true end
    stream.has_client_frame = true
    stream.has_hello = stream.has_hello or frame.type == "HELLO"
  elseif frame.type == "HELLO" or frame.type == "JOIN" or frame.type == "OBSERVE" then
    note.rule = "client_frame"
  end
  if frame.is_of_exchange then
    local exchange = exchanges[frame.id]
    if not exchange then
      exchange = { number = exchange_count, start = frame.type == "START" and frame.packet or nil }
      exchange_count = exchange_count + 1
      exchanges[frame.id] = exchange
    end
    note.exchange, note.start = exchange.number, exchange.start
  end
  return note
end

local function add_id(tree, name, bytes)
  tree:add(f[name], ByteArray.new(Struct.tohex(bytes)):tvb(name)(0, 16)):set_generated()
end

local dissect_mirror

-- One frame, as far as it was captured: `range` begins with its whole header.
local function dissect_frame(range, pinfo, root, stream, to_server, place)
  local payload_bytes = range(0, 4):uint()
  local type_number, flags, slot = range(4, 1):uint(), range(5, 1):uint(), range(6, 2):uint()
  local type_name = TYPES[type_number]
  local id = range(8, 16):raw()
  local has_id = not is_zero(range(8, 16))
  local known = range:len() - HEADER_BYTES
  local title = type_name or "type " .. type_number
  local tree = root:add(relay, range, "Relay " .. title .. (slot > 0 and ", slot " .. slot or ""))
  tree:add(f.direction, to_server and "to_server" or "to_client"):set_generated()
  tree:add(f.bytes, range(0, 4))
  tree:add(f.type, range(4, 1), title)
  tree:add(f.type_number, range(4, 1))
  local flag_tree = tree:add(f.flags, range(5, 1), flag_names(flags))
  for _, name in pairs(FLAGS) do flag_tree:add(f["flag." .. name:lower()], range(5, 1)) end
  tree:add(f.slot, range(6, 2))
  if has_id then
    tree:add(f.id, range(8, 16))
    if type_name ~= "LEAVE" then
      tree:add(f.request, range(8, 16))
      tree:add(f.request_id, range(8, 16))
    end
  end
  if known < payload_bytes then tree:add(f.known_bytes, known):set_generated() end

  local w = setmetatable({ tree = tree, payload = known > 0 and range(HEADER_BYTES):tvb() or ByteArray.new():tvb(""),
    info = title }, Writer)
  local fault, rule
  if type_name then
    rule = header_fault(type_name, flags, slot, has_id)
    if rule then fault = "bad_header" end
    local state, words
    if type_name == "MIRROR" then
      state, words = dissect_mirror(w, pinfo, payload_bytes)
    elseif read[type_name] then
      state, words = read[type_name](w, payload_bytes, flags, not to_server)
    else
      state, words = read_message(w, type_name, payload_bytes)
    end
    if state == "parsed" and type_name == "JOIN" and w.message.key and w.message.key[5] > MOST_KEY_BYTES then
      fault, rule = fault or "malformed", rule or "a takeover key has at most 64 bytes"
    end
    if state ~= "parsed" then tree:add(f.payload, state):set_generated() end
    if state == "malformed" or state == "bad_start" then fault, rule = fault or state, rule or words end
  end

  local note = notes[place]
  if not note then
    note = follow(stream, { type = type_name, slot = slot, id = id, to_server = to_server, message = w.message,
      fault = fault, packet = pinfo.number, is_of_exchange = has_id and type_name and type_name ~= "LEAVE" })
    notes[place] = note
  end
  if note.name then tree:add(f.channel, note.name):set_generated() end
  if note.channel then add_id(tree, "channel_id", note.channel) end
  if note.client then add_id(tree, "client", note.client) end
  if note.exchange then tree:add(f.exchange, note.exchange):set_generated() end
  if note.start and note.start ~= pinfo.number then tree:add(f.start_frame, note.start):set_generated() end
  fault = fault or note.rule
  if fault then
    tree:add(f.violation, fault):set_generated()
    tree:add_proto_expert_info(expert_rule, fault .. (rule and ": " .. rule or ""))
  end
  return w.info .. (fault and " [" .. fault .. "]" or "")
end

function dissect_mirror(w, pinfo, payload_bytes)
  local known = w.payload:len()
  if known < MIRROR_BYTES then return known < payload_bytes and "cut" or "malformed" end
  local kind = w.payload(20, 1):uint()
  if not KINDS[kind] then return "malformed" end
  w.tree:add(f.mirror_connection, w.payload(0, 8))
  w.tree:add(f.mirror_time_us, w.payload(8, 8))
  w.tree:add(f.mirror_lost, w.payload(16, 4))
  w.tree:add(f.mirror_kind, w.payload(20, 1), KINDS[kind])
  w.info = w.info .. " " .. KINDS[kind]
  if known == MIRROR_BYTES then return "parsed" end
  if kind >= 3 then
    w.tree:add(f.words, w.payload(MIRROR_BYTES))
  elseif known < MIRROR_BYTES + HEADER_BYTES then
    return "malformed"
  else
    local number = w.payload(MIRROR_BYTES + 4, 1):uint()
    w.tree:add(f.mirror_type, w.payload(MIRROR_BYTES + 4, 1))
    w.info = w.info .. " " .. (TYPES[number] or "type " .. number)
  end
  return "parsed"
end

-- ---- Connections ----

local function end_of(address, port) return tostring(address) .. " " .. port end

-- Who of the two is the client: who sent the preface, or does not have the relay's port, or has the greater port.
local function stream_of(pinfo, opens_with_preface)
  local number = tcp_stream()
  number = number and number.value or 0
  local stream = streams[number]
  if not stream then
    stream = { slots = {} }
    streams[number] = stream
    local source_is_client = opens_with_preface
    if not source_is_client then
      if pinfo.dst_port == PORT or pinfo.src_port == PORT then
        source_is_client = pinfo.dst_port == PORT
      else
        source_is_client = pinfo.src_port > pinfo.dst_port
      end
    end
    stream.client = source_is_client and end_of(pinfo.src, pinfo.src_port) or end_of(pinfo.dst, pinfo.dst_port)
  end
  if opens_with_preface then
    stream.client = end_of(pinfo.src, pinfo.src_port)
    stream.from_start = true
  end
  return stream, number
end

function relay.dissector(tvb, pinfo, root)
  local captured, reported = tvb:captured_len(), tvb:reported_len()
  local is_cut = captured < reported
  local offset = 0
  local infos = {}
  local opens = captured > 0 and tvb:range(0, math.min(captured, #PREFACE)):raw() == PREFACE:sub(1, captured)
  local stream, number = stream_of(pinfo, opens)
  local to_server = stream.client == end_of(pinfo.src, pinfo.src_port)
  pinfo.cols.protocol = "RELAY"

  local function wait_for(bytes)
    pinfo.desegment_offset = offset
    pinfo.desegment_len = bytes
  end

  while offset < captured do
    if opens and offset == 0 then
      if captured < #PREFACE then
        if not is_cut then wait_for(#PREFACE - captured) end
        return reported
      end
      local tree = root:add(relay, tvb(0, #PREFACE), "Relay preface")
      tree:add(f.preface, tvb(0, #PREFACE))
      offset = #PREFACE
      infos[1] = "preface"
    else
      local left = captured - offset
      if left < HEADER_BYTES then
        if not is_cut then wait_for(DESEGMENT_ONE_MORE_SEGMENT) end
        break
      end
      local bytes = HEADER_BYTES + tvb(offset, 4):uint()
      if bytes - HEADER_BYTES > PLAUSIBLE_PAYLOAD_BYTES then
        local tree = root:add(relay, tvb(offset), "Relay, no frame")
        tree:add(f.violation, "payload_too_large"):set_generated()
        tree:add_proto_expert_info(expert_rule, "payload_too_large: no frame begins here")
        infos[#infos + 1] = "[no frame]"
        offset = captured
        break
      end
      if left < bytes and not is_cut then
        wait_for(bytes - left)
        break
      end
      local place = number .. (to_server and "<" or ">") .. pinfo.number .. ":" .. offset
      infos[#infos + 1] = dissect_frame(tvb(offset, math.min(bytes, left)), pinfo, root, stream, to_server, place)
      offset = offset + bytes
    end
  end
  if #infos > 0 then
    -- A packet that ends one frame and holds others is dissected in two calls.
    pinfo.cols.info:set(table.concat(infos, ", ") .. " ")
    pinfo.cols.info:fence()
  end
  return reported
end

-- What opens with the preface is relay, on whichever port.
local function is_relay(tvb, pinfo, root)
  if tvb:captured_len() < #PREFACE or tvb:range(0, #PREFACE):raw() ~= PREFACE then return false end
  relay.dissector(tvb, pinfo, root)
  pinfo.conversation = relay
  return true
end

DissectorTable.get("tcp.port"):add(PORT, relay)
relay:register_heuristic("tcp", is_relay)
