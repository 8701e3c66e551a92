#include "wire.h"

#include <cstring>

namespace flood {
namespace {

template <typename Integer>
void AppendBig(std::string& out, Integer value) {
  for (size_t i = sizeof(Integer); i-- > 0;) out += static_cast<char>(static_cast<uint8_t>(value >> (8 * i)));
}

std::string_view Text(const Id& id) { return {reinterpret_cast<const char*>(id.data()), id.size()}; }

// Protobuf, as far as it is needed: field numbers below 16.
void AppendBytesField(std::string& out, int field, std::string_view bytes) {
  out += static_cast<char>(field << 3 | 2);
  out += static_cast<char>(bytes.size());  // below 128
  out += bytes;
}

void AppendNumberField(std::string& out, int field, uint32_t number) {
  out += static_cast<char>(field << 3);
  for (; number >= 0x80; number >>= 7) out += static_cast<char>(number | 0x80);
  out += static_cast<char>(number);
}

std::string StartBlock(uint32_t timeout_ms) {
  std::string block(16, '\0');
  AppendBig(block, timeout_ms);
  block.resize(kStartBlockBytes);
  return block;
}

}  // namespace

Id MakeId(uint8_t kind, uint64_t number) {
  Id id = {};
  id[0] = kind;
  for (size_t i = 0; i < sizeof(number); ++i) id[15 - i] = static_cast<uint8_t>(number >> (8 * i));
  id[6] = 0x40;
  return id;
}

std::string Frame(Type type, unsigned flags, uint16_t slot, const Id& id, std::string_view payload) {
  std::string frame;
  AppendBig(frame, static_cast<uint32_t>(payload.size()));
  frame += static_cast<char>(type);
  frame += static_cast<char>(flags);
  AppendBig(frame, slot);
  frame += Text(id);
  frame += payload;
  return frame;
}

std::string Hello() {
  std::string hello;
  AppendNumberField(hello, 1, 1);
  return std::string(kPreface) + Frame(kHello, 0, 0, kNil, hello);
}

std::string Join(uint16_t slot, const Id& client, const Id& channel) {
  std::string join;
  AppendBytesField(join, 1, Text(client));
  AppendBytesField(join, 2, Text(channel));
  return Frame(kJoin, 0, slot, kNil, join);
}

std::string Leave(uint16_t slot, const Id& client) { return Frame(kLeave, 0, slot, client); }

std::string Receive(uint16_t slot) { return Frame(kReceive, 0, slot, kNil); }

std::string ReceiveFor(uint16_t slot, uint32_t wait_ms) {
  std::string receive;
  AppendNumberField(receive, 1, wait_ms);
  return Frame(kReceive, 0, slot, kNil, receive);
}

std::string Withdraw(uint16_t slot) {
  std::string receive;
  AppendNumberField(receive, 2, 1);
  return Frame(kReceive, 0, slot, kNil, receive);
}

std::string Request(uint16_t slot, const Id& id, unsigned flags, std::string_view body, uint32_t timeout_ms) {
  return Frame(kStart, kRequest | flags, slot, id, StartBlock(timeout_ms) + std::string(body));
}

std::string Response(uint16_t slot, const Id& id, unsigned flags, std::string_view body) {
  return Frame(kStart, kResponse | flags, slot, id, StartBlock(0) + std::string(body));
}

std::string Extend(uint16_t slot, const Id& id, uint32_t ms) {
  std::string payload;
  AppendBig(payload, ms);
  return Frame(kExtend, 0, slot, id, payload);
}

std::string Window(uint16_t slot, const Id& id, Flag direction, uint64_t total) {
  std::string payload;
  AppendBig(payload, total);
  return Frame(kWindow, direction, slot, id, payload);
}

Header ReadHeader(const char* bytes) {
  const auto* const at = reinterpret_cast<const uint8_t*>(bytes);
  Header header;
  header.payload_bytes = uint32_t{at[0]} << 24 | uint32_t{at[1]} << 16 | uint32_t{at[2]} << 8 | at[3];
  header.type = at[4];
  header.flags = at[5];
  header.slot = static_cast<uint16_t>(at[6] << 8 | at[7]);
  std::memcpy(header.id.data(), at + 8, header.id.size());
  return header;
}

}  // namespace flood
