-- Wireshark's and tshark's dissector of the relay protocol (proto/PROTOCOL.md), for Wireshark 4.0 and later. Its folder
-- is a plugin; this file reads the others.
--
-- It takes TCP port 7420, and what opens with the preface on any other port. Fields bear the names that
-- `relay inspect --json` gives them, behind "relay.": relay.type, relay.request, relay.status and so on. An id is
-- compared as it is written: relay.request == 40fedd3a-bcc7-59b4-b536-916749d14bb7.
--
-- A dissector sees packets in their order once, and then again in any. What depends on earlier packets (where frames
-- begin, what the state of their connection makes of them) is found out when a packet is seen first, and kept.

local FOLDER = debug.getinfo(1, "S").source:match("^@?(.*[/\\])")
local function part(name) return dofile(FOLDER .. name .. ".lua") end
local header, rules, protobuf, payload = part("header"), part("rules"), part("protobuf"), part("payload")
local reader, connection, channel_name = part("reader"), part("connection"), part("channel_name")
part("connection_alone").add_to(connection.Connection, header, connection.break_rule, connection.is_readable)

local relay = Proto("relay", "Relay")

local PORT = 7420

-- ---- Fields ----

local f = {}
local function field(kind, name, title, ...)
  f[name] = ProtoField[kind]("relay." .. name, title or name, ...)
end

field("string", "preface", "Preface")
field("string", "direction", "Direction")
field("uint32", "number", "Number over all connections")
field("string", "type", "Type")
field("uint8", "type_number", "Type number")
field("string", "flags", "Flags")
for bit, name in pairs(header.FLAGS) do
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
field("string", "side", "Side")
for _, name in ipairs({ "begins", "ends", "late" }) do field("bool", name) end
field("string", "violation", "Violation")
field("string", "rule", "Rule")
field("string", "section", "Section")
for _, name in ipairs({ "offset", "cost", "credit", "credit_left" }) do field("uint64", name) end
field("string", "payload", "Payload")
for _, name in ipairs({ "agent", "token", "method", "content_type", "message", "end", "status", "join_channel_name",
  "words", "mirror_kind" }) do
  field("string", name)
end
for _, name in ipairs({ "version", "token_bytes", "max_payload_bytes", "initial_window_bytes", "max_window_bytes",
  "max_clients_per_connection", "max_start_bytes", "heartbeat_interval_ms", "heartbeat_misses", "max_attempts",
  "key_bytes", "wait_ms", "timeout_ms", "max_extension_ms", "queue_wait_us", "attempt", "start_bytes", "body_bytes",
  "code", "retry_after_ms", "extend_ms", "snap_bytes", "mirror_lost", "mirror_type", "said_bytes", "limit_bytes" }) do
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

local expert_broken = ProtoExpert.new("relay.broken", "A rule of PROTOCOL.md is broken", expert.group.PROTOCOL,
  expert.severity.ERROR)
local expert_late = ProtoExpert.new("relay.crossed", "Late: it crossed an end", expert.group.SEQUENCE,
  expert.severity.CHAT)
local expert_status = ProtoExpert.new("relay.not_ok", "An end other than OK", expert.group.RESPONSE_CODE,
  expert.severity.NOTE)
relay.experts = { expert_broken, expert_late, expert_status }

payload.use(f, expert_status, header, protobuf)

local tcp_stream, tcp_seq, tcp_len = Field.new("tcp.stream"), Field.new("tcp.seq"), Field.new("tcp.len")
local tcp_completeness = Field.new("tcp.completeness")

local function first_value(extractor)
  local found = extractor()
  return found and found.value
end

-- ---- Connections ----

local streams, names  -- by tcp.stream; of channels, by their ids
local exchanges, exchange_count  -- by request id: {number, start}
local frame_count
local packets  -- by their numbers: what was found out when they were seen first, step by step

local function forget()
  streams, names, exchanges, exchange_count, frame_count, packets = {}, {}, {}, 0, 0, {}
end
relay.init = forget
forget()

local function end_of(address, port) return tostring(address) .. " " .. port end

-- Who of the two is the client: who sent the preface, or does not have the relay's port, or has the greater port.
local function is_from_client(pinfo, opens)
  if opens or pinfo.dst_port == PORT then return true end
  return pinfo.src_port ~= PORT and pinfo.src_port > pinfo.dst_port
end

-- The packet's connection, its half that the packet is of, and whether that is the client's.
local function stream_of(pinfo, opens)
  local number = first_value(tcp_stream) or 0
  local stream = streams[number]
  if not stream then
    local from_client = is_from_client(pinfo, opens)
    local has_syn = (first_value(tcp_completeness) or 0) % 4 > 0
    local from_start = has_syn or (opens and from_client)
    stream = {
      client = from_client and end_of(pinfo.src, pinfo.src_port) or end_of(pinfo.dst, pinfo.dst_port),
      -- Written from bytes, packets have no times: nobody knows what of the one direction passed before the other's.
      state = connection.new(header, channel_name.id, names, from_start, pinfo.abs_ts ~= 0),
      to_server = reader.new(header, true, from_start),
      to_client = reader.new(header, false, from_start),
    }
    streams[number] = stream
  end
  local to_server = stream.client == end_of(pinfo.src, pinfo.src_port)
  return stream, to_server and stream.to_server or stream.to_client, to_server
end

-- Gives the steps of a packet, one after another: made by `make` when the packet is seen first, and later the same. A
-- packet that ends one frame and holds others is dissected in several calls.
local function steps_of(pinfo)
  local place, is_again = (pinfo.private.relay or ""):match("(%d+)(%a*)")
  place = tonumber(place) or 0
  if place == 0 then
    is_again = packets[pinfo.number] and "again" or ""
    packets[pinfo.number] = packets[pinfo.number] or {}
  end
  local steps = packets[pinfo.number]
  return place == 0, is_again ~= "", function(make)
    place = place + 1
    pinfo.private.relay = place .. is_again
    if is_again == "" then steps[place] = make() end
    return steps[place]
  end
end

-- ---- Frames ----

local Frame = {}
Frame.__index = Frame
function Frame:has(bit) return header.has(self.flags, bit) end

local function add_id(tree, name, bytes)
  tree:add(f[name], ByteArray.new(Struct.tohex(bytes)):tvb(name)(0, 16)):set_generated()
end

local function exchange_of(frame, packet)
  if not frame.id or not frame.type or frame.type == "LEAVE" then return nil end
  local exchange = exchanges[frame.id]
  if not exchange then
    exchange = { number = exchange_count, start = frame.type == "START" and packet or nil }
    exchange_count = exchange_count + 1
    exchanges[frame.id] = exchange
  end
  return exchange
end

-- A side that joined before the trace began is on the channel that the other side of its exchange has told, as long as
-- that is live.
local function share_channel(frame, exchange, state)
  if not frame.side then return end
  if not frame.channel and not frame.rule then
    frame.channel = exchange.channel
    frame.name = names[frame.channel or ""]
    if state.in_order then state:slot(frame.slot).channel = frame.channel end
  end
  if frame.late and not frame.begins or frame.rule and frame.channel ~= exchange.channel then return end
  if frame.begins or not state.in_order and not frame.rule then exchange.is_live = true end
  if not exchange.is_live then return end
  exchange.channel = exchange.channel or frame.channel
  exchange.has_sender = exchange.has_sender or frame.begins and frame.side == "sender"
  local is_over = frame.ends and state.in_order and (frame.side == "sender" or not exchange.has_sender)
  if is_over then exchange.channel, exchange.is_live, exchange.has_sender = nil, nil, nil end
end

-- What the state of its connection makes of a frame.
local function note_of(frame, stream, packet)
  frame_count = frame_count + 1
  stream.state:judge(frame)
  if frame.type == "WELCOME" and stream.state.has_welcome then
    stream.to_server.max_payload_bytes = stream.state.max_payload_bytes
    stream.to_client.max_payload_bytes = stream.state.max_payload_bytes
  end
  local exchange = exchange_of(frame, packet)
  if exchange then share_channel(frame, exchange, stream.state) end
  return { number = frame_count, rule = frame.rule, words = frame.words, late = frame.late, begins = frame.begins,
    ends = frame.ends, side = frame.side, cost = frame.cost, credit = frame.credit, channel = frame.channel,
    client = frame.client, name = frame.name, exchange = exchange }
end

local function show_violation(tree, name, words)
  words = words or rules[name][1]
  tree:add(f.violation, name):set_generated()
  tree:add(f.rule, words):set_generated()
  tree:add(f.section, rules[name][2]):set_generated()
  tree:add_proto_expert_info(expert_broken, name .. ": " .. words)
end

-- What it says for the column of the packet.
local function show_note(tree, note, packet)
  tree:add(f.number, note.number):set_generated()
  if note.name then tree:add(f.channel, note.name):set_generated() end
  if note.channel then add_id(tree, "channel_id", note.channel) end
  if note.client then add_id(tree, "client", note.client) end
  if note.side then tree:add(f.side, note.side):set_generated() end
  if note.exchange then
    tree:add(f.exchange, note.exchange.number):set_generated()
    local start = note.exchange.start
    if start and start ~= packet then tree:add(f.start_frame, start):set_generated() end
  end
  for _, name in ipairs({ "begins", "ends", "late" }) do
    if note[name] then tree:add(f[name], true):set_generated() end
  end
  if note.credit then
    tree:add(f.cost, note.cost):set_generated()
    tree:add(f.credit, note.credit):set_generated()
    local left = note.cost < note.credit and note.credit - note.cost or connection.u64(0)
    tree:add(f.credit_left, left):set_generated()
  end
  if note.late then tree:add_proto_expert_info(expert_late) end
  if note.rule then show_violation(tree, note.rule, note.words) end
  return (note.rule and " [" .. note.rule .. "]" or "") .. (note.late and " [late]" or "")
end

local function add_direction(tree, to_server, step)
  tree:add(f.direction, to_server and "to_server" or "to_client"):set_generated()
  tree:add(f.offset, connection.u64(step.offset)):set_generated()
end

-- One frame, as far as it was captured: `range` begins with its whole header.
local function dissect_frame(range, pinfo, root, stream, to_server, step)
  local payload_bytes = range(0, 4):uint()
  local type_number, flags, slot = range(4, 1):uint(), range(5, 1):uint(), range(6, 2):uint()
  local type_name = header.TYPES[type_number]
  local has_id = range(8, 16):bytes():tohex():find("[^0]") ~= nil
  local known = range:len() - header.BYTES
  local title = type_name or "type " .. type_number
  local tree = root:add(relay, range, "Relay " .. title .. (slot > 0 and ", slot " .. slot or ""))
  add_direction(tree, to_server, step)
  tree:add(f.bytes, range(0, 4))
  tree:add(f.type, range(4, 1), title)
  tree:add(f.type_number, range(4, 1))
  local flag_tree = tree:add(f.flags, range(5, 1), header.flag_names(flags))
  for _, name in pairs(header.FLAGS) do flag_tree:add(f["flag." .. name:lower()], range(5, 1)) end
  tree:add(f.slot, range(6, 2))
  if has_id then
    tree:add(f.id, range(8, 16))
    if type_name ~= "LEAVE" then
      tree:add(f.request, range(8, 16))
      tree:add(f.request_id, range(8, 16))
    end
  end
  if known < payload_bytes then tree:add(f.known_bytes, known):set_generated() end

  local frame = setmetatable({ type = type_name, to_server = to_server, flags = flags, slot = slot,
    id = has_id and range(8, 16):raw() or nil, payload_bytes = payload_bytes, start_bytes = 0, body_bytes = 0 }, Frame)
  local w = payload.writer(tree, known > 0 and range(header.BYTES):tvb() or ByteArray.new():tvb(""), frame, title)
  if type_name then
    frame.state, frame.fault = w:read(type_name, payload_bytes)
    if frame.state ~= "parsed" then tree:add(f.payload, frame.state):set_generated() end
  end
  step.note = step.note or note_of(frame, stream, pinfo.number)
  return w.info .. show_note(tree, step.note, pinfo.number)
end

-- ---- Packets ----

-- Each gives what the column of the packet says.
local show_step = {}

function show_step.preface(range, _, root)
  root:add(relay, range, "Relay preface"):add(f.preface, range)
  return "preface"
end

show_step.frame = dissect_frame

function show_step.payload(range, _, root)
  root:add(relay, range, "Relay, more of a payload")
  return "payload"
end

function show_step.damage(range, _, root, _, to_server, step)
  local tree = root:add(relay, range, "Relay, no frame")
  add_direction(tree, to_server, step)
  if step.said_bytes then
    tree:add(f.said_bytes, step.said_bytes):set_generated()
    if step.limit_bytes then tree:add(f.limit_bytes, step.limit_bytes):set_generated() end
  end
  show_violation(tree, step.rule)
  return "[" .. step.rule .. "]"
end

function show_step.again(range, _, root)
  root:add(relay, range, "Relay, bytes that were sent again")
  return "[sent again]"
end

function show_step.skipped(range, _, root)
  root:add(relay, range, "Relay, bytes that are no part of a frame")
  return "[skipped]"
end

function relay.dissector(tvb, pinfo, root)
  local captured, reported = tvb:captured_len(), tvb:reported_len()
  local raw = captured > 0 and tvb:raw() or ""
  local opens = captured > 0 and raw:sub(1, #reader.PREFACE) == reader.PREFACE:sub(1, captured)
  local stream, half, to_server = stream_of(pinfo, opens)
  local is_first, is_again, next_step = steps_of(pinfo)
  pinfo.cols.protocol = "RELAY"
  if is_first and not is_again then
    local is_next = half:take_packet(first_value(tcp_seq) or 0, first_value(tcp_len) or reported)
    if not is_next then stream.state:lose_sight(to_server) end
  end
  local infos, offset = {}, 0
  while offset < captured do
    local step = next_step(function()
      local made = half:next(raw, offset + 1, reported)
      if made.is_blind then stream.state:lose_sight(to_server) end
      return made
    end)
    if not step then break end
    if step.kind == "wait" then
      pinfo.desegment_offset, pinfo.desegment_len = offset, step.bytes
      break
    end
    local range = tvb(offset, math.min(step.bytes, captured - offset))
    if step.bytes > 0 then
      infos[#infos + 1] = show_step[step.kind](range, pinfo, root, stream, to_server, step)
    end
    if step.is_blind_behind then stream.state:lose_sight(to_server) end
    offset = offset + step.bytes
  end
  if #infos > 0 then
    pinfo.cols.info:set(table.concat(infos, ", ") .. " ")
    pinfo.cols.info:fence()
  end
  return reported
end

-- What opens with the preface is relay, on whichever port.
local function is_relay(tvb, pinfo, root)
  if tvb:captured_len() < #reader.PREFACE or tvb:range(0, #reader.PREFACE):raw() ~= reader.PREFACE then return false end
  relay.dissector(tvb, pinfo, root)
  pinfo.conversation = relay
  return true
end

DissectorTable.get("tcp.port"):add(PORT, relay)
relay:register_heuristic("tcp", is_relay)
