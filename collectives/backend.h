#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "collectives/communicator.h"

namespace enodia {

/// What the backends of Communicator share. Callers of communicators do not need this header. All
/// functions are local.

/// Throws UsageError unless all peers are ranks of the communicator, no count is negative and no
/// message with elements lacks data.
void check_messages(std::span<const Message> sends,
                    std::span<const Message> receives,
                    int world_size);

/// What `rank` sends to itself and where: the i-th send with the i-th receive, without those that
/// have nothing to copy (no elements, or in place). Throws UsageError when their numbers differ,
/// CommError when a pair does not fit.
std::vector<std::pair<Buffer, Buffer>> own_messages(std::span<const Message> sends,
                                                    std::span<const Message> receives,
                                                    int rank);

/// Copies the own messages and returns when that is done. Throws as own_messages.
void copy_own_messages(std::span<const Message> sends,
                       std::span<const Message> receives,
                       int rank,
                       const Queue& queue);

/// Blocks the host until all that was queued so far is done.
void synchronize(const Queue& queue);

/// True when a send and its receive agree on count and dtype.
bool fit(const Buffer& sent, const Buffer& expected);

/// "5 float32".
std::string describe(const Buffer& buffer);

/// The sentence for a send and a receive that do not fit.
std::string describe_mismatch(int sender, const Buffer& sent, int receiver, const Buffer& expected);

/// The buffers of both sides, for a Work to keep.
std::vector<Buffer> buffers_of(std::span<const Message> sends, std::span<const Message> receives);

/// Renumbers ids from 0 in the order in which they first occur: {7, 3, 7} gives {0, 1, 0}.
std::vector<int> dense_ids(std::span<const int> ids);

}  // namespace enodia
