#pragma once

#include <span>
#include <utility>

#include "collectives/communicator.h"

namespace enodia {

/// One message between two ranks, of which the others know nothing: part 1, so that it is not
/// counted as an exchange that all have made. Collective over the two ranks.
inline Work send(Communicator& communicator, int peer, Buffer buffer) {
  const Message message{peer, std::move(buffer), /*part=*/1};
  return communicator.exchange({&message, 1}, {});
}

inline Work receive(Communicator& communicator, int peer, Buffer buffer) {
  const Message message{peer, std::move(buffer), /*part=*/1};
  return communicator.exchange({}, {&message, 1});
}

/// Views all of an array or vector.
template <typename Array>
Buffer view_all(Array& array) {
  return view(std::span<typename Array::value_type>(array));
}

}  // namespace enodia
