-- What is known of one connection from what passed on it: its limits, its slots and what each is doing. It says of
-- every frame which exchange it belongs to, what credit its stream has left, whether it is late, and which rule of
-- PROTOCOL.md it breaks, by the same reasoning as `relay inspect` (tools/inspect/connection.h): a frame is judged by
-- what its writer can have known at the most. What is remembered of past exchanges has no bound here.
--
-- Where nobody knows what of one direction passed before what of the other, each is judged by its own order alone
-- (connection_alone.lua).

local SMALLEST_WINDOW_BYTES, SMALLEST_PAYLOAD_BYTES, SMALLEST_START_BYTES = 65536, 65536, 4096
local MOST_HELLO_BYTES, MOST_KEY_BYTES = 4072, 64
local CHUNK_OVERHEAD_BYTES = 24
local NIL = ("\0"):rep(16)
local INVALID_ARGUMENT, PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNIMPLEMENTED = 3, 7, 8, 12
local OF_A_STREAM = { START = true, CHUNK = true, END = true }

local function u64(number) return UInt64.new(number % 2 ^ 32, math.floor(number / 2 ^ 32)) end

-- Of a parsed message: a field's value, or what stands for its absence.
local function value_of(message, name, default)
  local entry = message and message[name]
  if entry then return entry[1] end
  return default
end

local Connection = {}
Connection.__index = Connection

-- `header` is header.lua; `channel_id` gives a name's id. `names` of channels are shared by all connections.
local function new(header, channel_id, names, from_start, in_order)
  return setmetatable({ header = header, channel_id = channel_id, names = names, in_order = in_order,
    sees = { [true] = from_start, [false] = from_start }, sees_all = from_start and in_order,
    window_bytes = SMALLEST_WINDOW_BYTES, slots = {}, stays = {}, sending = {}, past = {} }, Connection)
end

-- Bytes of a direction are missing: from here on nothing is broken that something missing may explain.
function Connection:lose_sight(to_server)
  self.sees[to_server], self.sees_all = false, false
end

-- The first rule that is broken is told.
local function break_rule(frame, rule, words)
  if not frame.rule then frame.rule, frame.words = rule, words end
end

-- Of its own direction, where the two are not in order.
function Connection:break_if_seen(frame, rule)
  local is_seen = self.sees_all
  if not self.in_order then is_seen = self.sees[frame.to_server] end
  if is_seen then break_rule(frame, rule) end
end

-- False where the payload is not what its type wants.
local function is_readable(frame)
  if frame.state == "malformed" then break_rule(frame, "malformed") end
  if frame.state == "bad_start" then break_rule(frame, "bad_start", frame.fault) end
  return frame.state == "parsed"
end

-- The same of a frame that changes more than itself: of one that was cut, nobody knows what.
function Connection:is_understood(frame)
  if frame.state == "cut" then self:lose_sight(frame.to_server) end
  return is_readable(frame)
end

function Connection:slot(number)
  local slot = self.slots[number]
  if not slot then
    slot = { number = number }
    self.slots[number] = slot
  end
  return slot
end

-- Fills what is to be said of `frame` beyond its bytes. It has: type, to_server, flags, slot, id (nothing where it is
-- nil), payload_bytes, and what its payload says: state, fault, message, attempt, start_bytes, body_bytes, window.
function Connection:judge(frame)
  if not self:judge_order(frame) then return end
  local judge_type = self["on_" .. frame.type:lower()]
  if judge_type then return judge_type(self, frame) end
  if frame.type == "PING" or frame.type == "PONG" then return is_readable(frame) end
  if not self.in_order then return self:judge_alone(frame) end
  local slot = self:slot(frame.slot)
  if frame.type == "JOIN" then
    self:join(frame)
    slot = self:slot(frame.slot)
  end
  frame.channel, frame.client = slot.channel, slot.client
  frame.name = slot.channel and self.names[slot.channel]
  local judge_of_slot = self[frame.type:lower() .. (frame.to_server and "_to_server" or "_to_client")]
    or self[frame.type:lower() .. "_either_way"]
  if frame.type == "START" and frame:has(self.header.RESPONSE) then judge_of_slot = self.of_stream end
  if judge_of_slot then judge_of_slot(self, frame, slot) end
end

-- Whether there is more to be said about the frame.
function Connection:judge_order(frame)
  local to_server = frame.to_server
  local sent = to_server and "has_client_frame" or "has_server_frame"
  if not self[sent] then
    self[sent] = true
    if to_server and frame.type ~= "HELLO" then self:break_if_seen(frame, "before_hello") end
    if not to_server and frame.type ~= "WELCOME" and frame.type ~= "GOAWAY" then
      self:break_if_seen(frame, "before_welcome")
    end
  end
  if self[to_server and "client_is_done" or "server_is_done"] then break_rule(frame, "after_fault") end
  if not frame.type then return false end
  if to_server and self.is_thrown_away and self.in_order then
    frame.late = true
    return false
  end
  local fault = self.header.fault(frame.type, frame.flags, frame.slot, frame.id ~= nil)
  if fault then
    break_rule(frame, "bad_header", fault)
    return false
  end
  if self.sees_all and to_server and not self.has_welcome and frame.payload_bytes > SMALLEST_PAYLOAD_BYTES then
    break_rule(frame, "payload_before_welcome")
  end
  return true
end

-- ---- The connection ----

function Connection:on_hello(frame)
  if not frame.to_server then return break_rule(frame, "client_frame") end
  if self.has_hello then break_rule(frame, "second_hello") end
  self.has_hello = true
  if frame.payload_bytes > MOST_HELLO_BYTES then break_rule(frame, "hello_too_large") end
  self.may_observe = frame.state == "cut"
  if not is_readable(frame) then return end
  self.is_observer = value_of(frame.message, "observer", false)
  if value_of(frame.message, "version", 0) ~= 1 then break_rule(frame, "bad_version") end
end

function Connection:on_welcome(frame)
  if frame.to_server then return break_rule(frame, "server_frame") end
  if self.has_welcome then return break_rule(frame, "second_welcome") end
  if not self:is_understood(frame) then return end
  local function limit(name) return value_of(frame.message, name, 0) end
  if limit("max_payload_bytes") < SMALLEST_PAYLOAD_BYTES or limit("initial_window_bytes") < SMALLEST_WINDOW_BYTES
    or limit("max_window_bytes") < limit("initial_window_bytes") or limit("max_clients_per_connection") < 1
    or limit("max_start_bytes") < SMALLEST_START_BYTES or limit("heartbeat_interval_ms") < 100
    or limit("heartbeat_misses") < 2 or limit("max_attempts") < 1 then
    break_rule(frame, "limits")
  end
  self.has_welcome = true
  self.max_payload_bytes = limit("max_payload_bytes")
  self.window_bytes, self.max_window_bytes = limit("initial_window_bytes"), limit("max_window_bytes")
  self.max_start_bytes = limit("max_start_bytes")
  for _, slot in pairs(self.slots) do
    for _, stream in pairs(slot.streams or {}) do
      if stream.window < u64(self.window_bytes) then stream.window = u64(self.window_bytes) end
    end
  end
end

function Connection:on_goaway(frame)
  local who = frame.to_server and "client" or "server"
  self[who .. "_leaves"] = true
  if not self:is_understood(frame) then return end
  local code = value_of(frame.message, "code", 0)
  local is_fault = code == INVALID_ARGUMENT or code == UNIMPLEMENTED or code == PERMISSION_DENIED
  if is_fault then self[who .. "_is_done"] = true end
  if frame.to_server then return end
  -- What the client says from here on is thrown away: the server ends the connection.
  if is_fault or code == RESOURCE_EXHAUSTED then self.is_thrown_away = true end
  for _, slot in pairs(self.slots) do
    if slot.doing == "waiting" and not slot.is_withdrawing then slot.doing = nil end
  end
end

function Connection:on_observe(frame)
  if not frame.to_server then return break_rule(frame, "client_frame") end
  if not self.is_observer and not self.may_observe then self:break_if_seen(frame, "observer_role") end
  is_readable(frame)
end

function Connection:on_mirror(frame)
  if frame.to_server then return break_rule(frame, "server_frame") end
  is_readable(frame)
end

-- ---- Slots ----

-- Nothing where it joins nobody, whatever is on the slot.
function Connection:read_join(frame)
  if not frame.to_server then return break_rule(frame, "client_frame") end
  if self.is_observer then break_rule(frame, "observer_role") end
  if frame.state == "cut" then return {} end
  if not is_readable(frame) then return end
  local client, channel = value_of(frame.message, "client_id", ""), value_of(frame.message, "channel_id", "")
  if #client ~= 16 or client == NIL or #channel ~= 16 then
    return break_rule(frame, "malformed", "JOIN has a client id, not nil, and a channel id of 16 bytes each")
  end
  if #value_of(frame.message, "key", "") > MOST_KEY_BYTES then
    return break_rule(frame, "malformed", "a takeover key has at most 64 bytes")
  end
  local name = value_of(frame.message, "channel_name", "")
  if name ~= "" then
    if self.channel_id(name) ~= channel then return break_rule(frame, "channel_name") end
    self.names[channel] = self.names[channel] or name
  end
  return { client = client, channel = channel ~= NIL and channel or nil }
end

function Connection:join(frame)
  local joined = self:read_join(frame)
  if not joined then return end
  local slot = self:slot(frame.slot)
  if slot.is_joined then return self:break_if_seen(frame, "slot_bound") end
  if slot.is_leaving then self:break_if_seen(frame, "slot_leaving") end
  self:abandon(slot)
  self.slots[frame.slot] = { number = frame.slot, is_joined = true, client = joined.client, past = slot.past,
    channel = joined.channel }
end

-- A client that joined unseen, or with a JOIN that was cut.
function Connection:name_client(frame, slot)
  if not slot.client and (slot.is_joined or not self.sees_all) then slot.client = frame.id end
end

function Connection:leave_to_server(frame, slot)
  self:name_client(frame, slot)
  if self.sees_all and (not slot.is_joined or slot.client ~= frame.id) then
    frame.late = true
    return
  end
  is_readable(frame)
  if frame.state == "malformed" then return end
  self:abandon(slot)
  slot.is_joined, slot.is_leaving = false, true
end

function Connection:leave_to_client(frame, slot)
  self:name_client(frame, slot)
  if self.sees_all and ((not slot.is_joined and not slot.is_leaving) or slot.client ~= frame.id) then
    frame.late = true
    return
  end
  is_readable(frame)
  self:abandon(slot)
  -- Unasked: the client may not know yet.
  slot.is_taken_away = not slot.is_leaving
  slot.is_joined, slot.is_leaving, slot.is_withdrawing = false, false, false
end

function Connection:receive_to_server(frame, slot)
  if not self:is_understood(frame) then return end
  if not value_of(frame.message, "withdraw", false) then return self:begin_receive(frame, slot) end
  if slot.is_joined then slot.is_withdrawing = true
  elseif slot.is_taken_away then frame.late = true
  else self:break_if_seen(frame, "slot_not_joined") end
end

function Connection:begin_receive(frame, slot)
  if slot.is_withdrawing then return self:break_if_seen(frame, "before_echo") end
  if self.sees_all and not slot.is_joined then
    if not slot.is_taken_away then return break_rule(frame, "slot_not_joined") end
    frame.late = true
    return
  end
  if self.sees_all and slot.doing then return break_rule(frame, "slot_busy") end
  if self.client_leaves then return self:break_if_seen(frame, "connection_leaving") end
  slot.doing = "waiting"
end

function Connection:receive_to_client(frame, slot)
  if not self:is_understood(frame) then return end
  if slot.is_leaving or (self.sees_all and not slot.is_joined and slot.is_taken_away) then
    frame.late = true
    return
  end
  if value_of(frame.message, "withdraw", false) then
    if not slot.is_withdrawing then self:break_if_seen(frame, "no_withdrawal") end
    slot.is_withdrawing = false
  elseif slot.doing ~= "waiting" then
    return self:break_if_seen(frame, "not_waiting")
  end
  if slot.doing == "waiting" then slot.doing = nil end
end

-- ---- Exchanges ----

-- What a slot had to do with a request that is not live on it: "refused" (its START could not begin it), "ended", or
-- "ended_by_receiver" (with the end of the response, which it wrote itself) or "ended_by_server" (with the same, which the
-- server wrote to the sender).
local function remember(slot, request, how)
  slot.past = slot.past or {}
  slot.past[request] = how
end

function Connection:begin_exchange(frame, slot, doing)
  self:abandon(slot)
  frame.begins = true
  slot.doing, slot.request = doing, frame.id
  slot.streams = {}
  for _, direction in ipairs({ "request", "response" }) do
    slot.streams[direction] = { cost = 0, window = u64(self.window_bytes) }
  end
  if doing == "sending" then self.sending[slot.request] = frame.slot end
  self:spend(frame, slot.streams.request)
end

function Connection:end_exchange(frame, slot, how)
  frame.ends = true
  remember(slot, slot.request, how)
  if slot.doing == "sending" then self.sending[slot.request] = nil end
  slot.doing, slot.request = nil, nil
end

-- Without a frame that ends it.
function Connection:abandon(slot)
  if slot.doing == "sending" then self.sending[slot.request] = nil end
  if slot.request then remember(slot, slot.request, "ended") end
  slot.doing, slot.request = nil, nil
end

-- Its START could not begin it.
local function refuse(frame, slot, rule)
  remember(slot, frame.id, "refused")
  break_rule(frame, rule)
end

function Connection.start_cost(frame)
  return frame.body_bytes > 0 and CHUNK_OVERHEAD_BYTES + frame.body_bytes or 0
end

-- A stream's START, CHUNK or END where the exchange is live.
function Connection:spend(frame, stream)
  local cost_before = stream.cost
  if frame.type == "START" then
    stream.has_started = true
    stream.cost = stream.cost + self.start_cost(frame)
  elseif frame.type == "CHUNK" then
    stream.cost = stream.cost + CHUNK_OVERHEAD_BYTES + frame.payload_bytes
  end
  if frame.type == "END" or frame:has(self.header.FIN) then stream.has_ended = true end
  if not self.sees_all then return end
  frame.cost, frame.credit = u64(stream.cost), stream.window
  if stream.cost > cost_before and frame.cost > frame.credit then break_rule(frame, "window_overrun") end
end

function Connection:check_start_bytes(frame)
  if self.has_welcome and frame.start_bytes > self.max_start_bytes then break_rule(frame, "start_too_large") end
end

function Connection:start_to_server(frame, slot)
  frame.side = "sender"
  is_readable(frame)
  if frame.state == "bad_start" then return end
  if self.sees_all then
    if slot.doing == "sending" and slot.request == frame.id then return break_rule(frame, "second_start") end
    if not slot.is_joined then
      if not slot.is_taken_away then return refuse(frame, slot, "slot_not_joined") end
      frame.late = true
      return remember(slot, frame.id, "refused")
    end
    if slot.doing then return refuse(frame, slot, "slot_busy") end
    if self.client_leaves then return refuse(frame, slot, "connection_leaving") end
    local live = self.sending[frame.id]
    if live and frame.channel and self.slots[live].channel == frame.channel then return refuse(frame, slot, "id_live") end
  end
  self:check_start_bytes(frame)
  self:begin_exchange(frame, slot, "sending")
end

function Connection:start_to_client(frame, slot)
  frame.side = "receiver"
  if slot.is_leaving then
    frame.late = true
    return
  end
  local can_be_read = is_readable(frame)
  if frame.state == "bad_start" then return end
  if can_be_read and frame.attempt == 0 then break_rule(frame, "attempt") end
  if self.sees_all and slot.doing ~= "waiting" then
    break_rule(frame, "not_waiting")
    if slot.doing then return end
  end
  self:begin_exchange(frame, slot, "receiving")
end

-- Which of the slot's streams the frame is of, if the slot has that part in its exchange.
function Connection:stream_of(frame, slot, is_of_sender)
  frame.side = is_of_sender and "sender" or "receiver"
  if not slot.request or slot.request ~= frame.id or slot.doing ~= (is_of_sender and "sending" or "receiving") then
    return nil
  end
  return slot.streams[frame:has(self.header.REQUEST) and "request" or "response"]
end

-- START of a response, CHUNK, END.
function Connection:of_stream(frame, slot)
  local to_server, is_request = frame.to_server, frame:has(self.header.REQUEST)
  local receives = to_server and frame:has(self.header.RECEIVE)
  if not to_server and frame:has(self.header.RECEIVE) then break_rule(frame, "receive_handed_on") end
  local stream = self:stream_of(frame, slot, to_server == is_request)
  if not stream then
    self:judge_foreign(frame, slot)
    if receives then self:begin_receive(frame, slot) end
    return
  end
  is_readable(frame)
  if frame.state == "bad_start" then return end
  local rule_before = frame.rule
  if frame.type == "START" then
    if stream.has_started then self:break_if_seen(frame, "second_start") end
    self:check_start_bytes(frame)
  elseif not stream.has_started then
    self:break_if_seen(frame, "not_started")
  end
  if stream.has_ended then break_rule(frame, "after_end") end
  if frame.type == "END" and self.has_welcome and frame.payload_bytes > self.max_start_bytes then
    break_rule(frame, "end_too_large")
  end
  self:spend(frame, stream)
  if not is_request and stream.has_ended and frame.rule == rule_before then
    self:end_exchange(frame, slot, to_server and "ended_by_receiver" or "ended_by_server")
  end
  if receives then self:begin_receive(frame, slot) end
end
Connection.chunk_either_way = Connection.of_stream
Connection.end_either_way = Connection.of_stream

-- The slot takes no part in the exchange of the frame: late, or never begun.
function Connection:judge_foreign(frame, slot)
  local to_server, is_request = frame.to_server, frame:has(self.header.REQUEST)
  if slot.request == frame.id then
    if to_server then frame.late = true else self:break_if_seen(frame, "wrong_way") end
    return
  end
  local past = slot.past and slot.past[frame.id]
  frame.late = true
  if past == "ended" then return end
  if past == "refused" then
    frame.late = frame.type ~= "RESET" or to_server
    return
  end
  local is_of_stream = to_server and OF_A_STREAM[frame.type]
  if past == "ended_by_receiver" or past == "ended_by_server" then
    local by_writer = to_server == (past == "ended_by_receiver")
    if by_writer and OF_A_STREAM[frame.type] and frame:has(self.header.RESPONSE) then
      frame.late = false
      self:break_if_seen(frame, "after_end")
    end
    return
  end
  -- Between a LEAVE and its reading, slots may have had a part in what passed on the other way.
  if to_server and slot.is_taken_away or not to_server and slot.is_leaving then return end
  frame.late = false
  if not to_server and is_request then self:break_if_seen(frame, "not_assigned")
  elseif is_of_stream and is_request then self:break_if_seen(frame, "not_started")
  else self:break_if_seen(frame, "not_begun") end
end

function Connection:window_either_way(frame, slot)
  -- The consuming side raises a window; the server tells the writing side.
  local stream = self:stream_of(frame, slot, frame.to_server ~= frame:has(self.header.REQUEST))
  if not stream then return self:judge_foreign(frame, slot) end
  if not self:is_understood(frame) then return end
  local cost = u64(stream.cost)
  if frame.to_server and self.has_welcome and frame.window > cost
    and frame.window - cost > u64(self.max_window_bytes) then
    self:break_if_seen(frame, "window_too_far")
  end
  if frame.window > stream.window then stream.window = frame.window end
  if self.sees_all then frame.cost, frame.credit = cost, stream.window end
end

function Connection:reset_either_way(frame, slot)
  if not frame.id then
    if frame.to_server then return break_rule(frame, "nil_reset") end
    -- One for a RECEIVE too many leaves alone what the slot does.
    local status = is_readable(frame) and value_of(frame.message, "status", {}) or {}
    if slot.doing == "waiting" and value_of(status, "end") ~= "slot_busy" then slot.doing = nil end
    return
  end
  if slot.request ~= frame.id then return self:judge_foreign(frame, slot) end
  frame.side = slot.doing == "sending" and "sender" or "receiver"
  is_readable(frame)
  self:end_exchange(frame, slot, "ended")
end

function Connection:extend_either_way(frame, slot)
  frame.side = "receiver"
  if slot.request ~= frame.id or slot.doing ~= "receiving" then return self:judge_foreign(frame, slot) end
  is_readable(frame)
end

return { new = new, u64 = u64, Connection = Connection, break_rule = break_rule, is_readable = is_readable }
