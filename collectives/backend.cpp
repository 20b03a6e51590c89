#include "collectives/backend.h"

#include <map>

#include "common/check.h"
#include "common/error.h"

namespace enodia {
namespace {

void check_message(const Message& message, int world_size) {
  ENODIA_CHECK(message.peer >= 0 && message.peer < world_size,
               "peer ",
               message.peer,
               " is not a rank of a world of ",
               world_size);
  ENODIA_CHECK(message.buffer.count >= 0, "a message of ", message.buffer.count, " elements");
  ENODIA_CHECK(message.buffer.count == 0 || message.buffer.data != nullptr,
               "a message of ",
               describe(message.buffer),
               " has no memory; give the buffer data");
}

std::vector<Buffer> buffers_with(std::span<const Message> messages, int peer) {
  std::vector<Buffer> buffers;
  for (const Message& message : messages) {
    if (message.peer == peer) {
      buffers.push_back(message.buffer);
    }
  }
  return buffers;
}

}  // namespace

void check_messages(std::span<const Message> sends,
                    std::span<const Message> receives,
                    int world_size) {
  for (const Message& message : sends) {
    check_message(message, world_size);
  }
  for (const Message& message : receives) {
    check_message(message, world_size);
  }
}

std::vector<std::pair<Buffer, Buffer>> own_messages(std::span<const Message> sends,
                                                    std::span<const Message> receives,
                                                    int rank) {
  const std::vector<Buffer> from = buffers_with(sends, rank);
  const std::vector<Buffer> to = buffers_with(receives, rank);
  ENODIA_CHECK_EQ(from.size(),
                  to.size(),
                  "sends of rank ",
                  rank,
                  " to itself and receives from itself must pair up within one exchange");
  std::vector<std::pair<Buffer, Buffer>> pairs;
  for (size_t i = 0; i < from.size(); ++i) {
    if (!fit(from[i], to[i])) {
      throw CommError(describe_mismatch(rank, from[i], rank, to[i]));
    }
    if (from[i].count > 0 && from[i].data != to[i].data) {
      pairs.emplace_back(from[i], to[i]);
    }
  }
  return pairs;
}

void copy_own_messages(std::span<const Message> sends,
                       std::span<const Message> receives,
                       int rank,
                       const Queue& queue) {
  const auto pairs = own_messages(sends, receives, rank);
  for (const auto& [from, to] : pairs) {
    queue.copy(to.data, from.data, static_cast<size_t>(from.bytes()));
  }
  if (!pairs.empty()) {
    synchronize(queue);
  }
}

void synchronize(const Queue& queue) {
  void* event = queue.table().record(queue.handle());
  if (event != nullptr) {
    queue.table().synchronize(event);
    queue.table().release(event);
  }
}

bool fit(const Buffer& sent, const Buffer& expected) {
  return sent.count == expected.count && sent.dtype == expected.dtype;
}

std::string describe(const Buffer& buffer) {
  return detail::concat(buffer.count, " ", name_of(buffer.dtype));
}

std::string describe_mismatch(int sender,
                              const Buffer& sent,
                              int receiver,
                              const Buffer& expected) {
  return detail::concat("rank ",
                        sender,
                        " sends ",
                        describe(sent),
                        " to rank ",
                        receiver,
                        ", which expects ",
                        describe(expected),
                        "; both ranks must name the same count and dtype");
}

std::vector<Buffer> buffers_of(std::span<const Message> sends, std::span<const Message> receives) {
  std::vector<Buffer> buffers;
  buffers.reserve(sends.size() + receives.size());
  for (const Message& message : sends) {
    buffers.push_back(message.buffer);
  }
  for (const Message& message : receives) {
    buffers.push_back(message.buffer);
  }
  return buffers;
}

std::vector<int> dense_ids(std::span<const int> ids) {
  std::map<int, int> seen;
  std::vector<int> dense;
  dense.reserve(ids.size());
  for (const int id : ids) {
    dense.push_back(seen.try_emplace(id, static_cast<int>(seen.size())).first->second);
  }
  return dense;
}

}  // namespace enodia
