-- Frames of which nobody knows when they passed between those of the other direction: what was written from bytes has
-- no times. What their own direction's order decides is judged, as by tools/inspect/connection_alone.cc; whether they
-- are late, whether a slot was free and what credit was left is not.

local ANSWERS = { WINDOW = true, RESET = true, EXTEND = true }

-- Adds to Connection (connection.lua) what judges a frame of a slot so. `break_rule` and `is_readable` are its own.
local function add_to(Connection, header, break_rule, is_readable)
  local REQUEST, RECEIVE, FIN = header.REQUEST, header.RECEIVE, header.FIN

  function Connection:judge_alone(frame)
    local stays = self.stays[frame.slot] or { in_line = { { parts = {} } } }
    self.stays[frame.slot] = stays
    local line = stays.in_line
    if #line == 0 then line[1] = { parts = {} } end
    local joined = frame.type == "JOIN" and self:read_join(frame)
    if joined then
      local last = line[#line]
      if last.client or last.has_left or next(last.parts) then line[#line + 1] = { parts = {} } end
      line[#line].channel, line[#line].client = joined.channel, joined.client
      stays.is_joined = true
    end
    -- The client's direction is at the last who joined here, the server's at the first who has not left.
    local stay = line[frame.to_server and #line or 1]
    frame.channel, frame.client = stay.channel, stay.client
    frame.name = stay.channel and self.names[stay.channel]
    if frame.type == "LEAVE" then return self:leave_alone(frame, stays) end
    if frame.type == "RECEIVE" then
      local begins = is_readable(frame) and frame.to_server and not (frame.message.withdraw or { false })[1]
      if begins then self:operate_alone(frame, stays) end
      return
    end
    if frame.type == "JOIN" then return end
    local key = frame.id or ""
    stay.parts[key] = stay.parts[key] or { said = { [true] = {}, [false] = {} } }
    if ANSWERS[frame.type] then return self:answer_alone(frame, stay.parts[key]) end
    return self:stream_alone(frame, stays, stay.parts[key])
  end

  function Connection:leave_alone(frame, stays)
    is_readable(frame)
    if frame.to_server then
      stays.is_joined = false
      stays.in_line[#stays.in_line].has_left = true
    else
      table.remove(stays.in_line, 1)
    end
  end

  -- The frame begins to wait, or a request.
  function Connection:operate_alone(frame, stays)
    if not stays.is_joined then self:break_if_seen(frame, "slot_not_joined") end
    if self.client_leaves then self:break_if_seen(frame, "connection_leaving") end
  end

  function Connection:stream_alone(frame, stays, part)
    local to_server, is_request = frame.to_server, frame:has(REQUEST)
    part.side = to_server == is_request and "sender" or "receiver"
    frame.side = part.side
    if not to_server and frame:has(RECEIVE) then break_rule(frame, "receive_handed_on") end
    if to_server and (frame.type == "START" and is_request or frame:has(RECEIVE)) then
      self:operate_alone(frame, stays)
    end
    is_readable(frame)
    if frame.state == "bad_start" then return end
    local said = part.said[to_server]
    if said.is_over and frame.type ~= "START" then
      frame.late = true
      return
    end
    if frame.type == "START" then
      said = self:start_alone(frame, part, said)
    elseif not said.has_started then
      self:break_if_seen(frame, is_request and not to_server and "not_assigned" or "not_started")
    elseif said.has_ended then
      self:break_if_seen(frame, "after_end")
    end
    if frame.type == "END" and self.has_welcome and frame.payload_bytes > self.max_start_bytes then
      break_rule(frame, "end_too_large")
    end
    if frame.type == "END" or frame:has(FIN) then said.has_ended = true end
    if not is_request and said.has_ended then frame.ends = true end
  end

  -- What the direction has said of the stream with it.
  function Connection:start_alone(frame, part, said)
    local is_request = frame:has(REQUEST)
    local attempt = frame.attempt or 0
    if said.has_started and not said.has_ended and not said.is_over and attempt <= said.attempt then
      self:break_if_seen(frame, "second_start")
    else
      said = { has_started = true, attempt = attempt }
      part.said[frame.to_server] = said
      frame.begins = is_request
    end
    if not frame.to_server and is_request and frame.state == "parsed" and attempt == 0 then
      break_rule(frame, "attempt")
    end
    self:check_start_bytes(frame)
    -- No WINDOW can have come before it.
    if self.has_welcome and is_request and self.start_cost(frame) > self.window_bytes then
      break_rule(frame, "window_overrun")
    end
    return said
  end

  function Connection:answer_alone(frame, part)
    local is_reset = frame.type == "RESET"
    is_readable(frame)
    if not frame.id then
      if frame.to_server then break_rule(frame, "nil_reset") end
      return
    end
    if not part.side then
      -- A client that resets what it did not send was handed it.
      local by_receiver = frame.type == "EXTEND" or frame.to_server == frame:has(REQUEST)
      if is_reset then by_receiver = frame.to_server end
      part.side = by_receiver and "receiver" or not is_reset and "sender" or nil
    end
    frame.side = part.side
    if not is_reset then return end
    part.said[frame.to_server].is_over = true
    frame.ends = true
  end
end

return { add_to = add_to }
