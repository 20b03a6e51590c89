#pragma once

#include <span>
#include <utility>

#include "collectives/communicator.h"

namespace enodia {

/// One message of an exchange. Collective over the two ranks only.
inline Work send(Communicator& communicator, int peer, Buffer buffer) {
  const Message message{peer, std::move(buffer)};
  return communicator.exchange({&message, 1}, {});
}

inline Work receive(Communicator& communicator, int peer, Buffer buffer) {
  const Message message{peer, std::move(buffer)};
  return communicator.exchange({}, {&message, 1});
}

/// Views all of an array or vector.
template <typename Array>
Buffer view_all(Array& array) {
  return view(std::span<typename Array::value_type>(array));
}

}  // namespace enodia
