-- What the payload of a frame says, as fields of its tree.

local BLOCK_BYTES, MIRROR_BYTES = 40, 56

local CODES = {
  [0] = "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
  "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}
local KINDS = { [1] = "READ", [2] = "WRITTEN", [3] = "OPENED", [4] = "ENDED", [5] = "LOST" }

local f, expert_status, header, protobuf  -- relay.lua's, by `use`

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

-- `tells_run`: that it leaves may_have_run out means that it is false.
function Writer:status(status, tells_run)
  local code = status.code and status.code[1] or 0
  local name = CODES[code] or "code " .. tostring(code)
  self.tree:add(f.status, name):set_generated()
  self:add("code", status.code, 0)
  self:add("message", status.message)
  self:add("end", status["end"])
  if tells_run or status.may_have_run and status.may_have_run[1] then
    self:add("may_have_run", status.may_have_run, false)
  end
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
  w:status(m.status and m.status[1] or {}, not w.frame.to_server)
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

-- Each of these says "parsed", "cut", "malformed" or "bad_start", and for the last which rule is broken. What the state
-- of the connection needs, it writes into the frame.
local read = {}

local function read_message(w, type_name, payload_bytes)
  if w.payload:len() < payload_bytes then return "cut" end
  local message = protobuf.parse(protobuf.MESSAGES[type_name], payload_bytes > 0 and w.payload:raw() or "", 0)
  if not message then return "malformed" end
  w.frame.message = message
  show[type_name](w, message)
  return "parsed"
end

function read.START(w, payload_bytes)
  local known, frame, block = w.payload:len(), w.frame, w.payload
  if known < BLOCK_BYTES then
    if known < payload_bytes then return "cut" end
    return "bad_start", "the payload of START begins with a block of 40 bytes"
  end
  frame.attempt, frame.start_bytes = block(24, 2):uint(), block(26, 2):uint()
  local head_bytes = BLOCK_BYTES + frame.start_bytes
  if payload_bytes < head_bytes then
    return "bad_start", "the payload of START holds the Start that its block announces"
  end
  frame.body_bytes = payload_bytes - head_bytes
  if known < head_bytes then return "cut" end
  local message = protobuf.parse(protobuf.START,
    frame.start_bytes > 0 and block(BLOCK_BYTES, frame.start_bytes):raw() or "", BLOCK_BYTES)
  if not message then return "malformed" end
  if frame.to_server and not (is_zero(block(0, 16)) and is_zero(block(20, 6))) then
    return "bad_start", "the server's fields of the start block are sent as zero"
  end
  if frame:has(header.RESPONSE) and not (is_zero(block(16, 4)) and is_zero(block(28, 4))) then
    return "bad_start", "the timeout and its extension are zero on a RESPONSE"
  end
  w:add("method", message.method, "")
  w:add("content_type", message.content_type)
  if not is_zero(block(0, 16)) then w.tree:add(f.other_client, block(0, 16)) end
  w.tree:add(f.timeout_ms, block(16, 4))
  w.tree:add(f.queue_wait_us, block(20, 4))
  w.tree:add(f.attempt, block(24, 2))
  w.tree:add(f.start_bytes, block(26, 2))
  w.tree:add(f.max_extension_ms, block(28, 4))
  w.tree:add(f.body_bytes, frame.body_bytes):set_generated()
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
    if name == "window" then w.frame.window = w.payload(0, bytes):uint64() end
    return "parsed"
  end
end
read.WINDOW = read_sized("window", 8)
read.PING = read_sized("ping", 8)
read.PONG = read.PING
read.EXTEND = read_sized("extend_ms", 4)

function read.MIRROR(w, payload_bytes)
  local known = w.payload:len()
  if known < payload_bytes then return "cut" end
  if known < MIRROR_BYTES then return "malformed" end
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
  elseif known < MIRROR_BYTES + header.BYTES then
    return "malformed"
  else
    local number = w.payload(MIRROR_BYTES + 4, 1):uint()
    w.tree:add(f.mirror_type, w.payload(MIRROR_BYTES + 4, 1))
    w.info = w.info .. " " .. (header.TYPES[number] or "type " .. number)
  end
  return "parsed"
end

-- As the entries of `read` do.
function Writer:read(type_name, payload_bytes)
  if read[type_name] then return read[type_name](self, payload_bytes) end
  return read_message(self, type_name, payload_bytes)
end

return {
  use = function(...) f, expert_status, header, protobuf = ... end,
  -- `payload` is what was captured of it; `info`, which grows, is what the column of the packet says of the frame.
  writer = function(tree, payload, frame, info)
    return setmetatable({ tree = tree, payload = payload, frame = frame, info = info }, Writer)
  end,
}
