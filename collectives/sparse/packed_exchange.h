#pragma once

#include <span>

#include "collectives/communicator.h"

namespace enodia {

/// An exchange with few messages: small ones for one peer travel as one, since many small experts
/// would cost a message's latency each. Sender and receiver list the same pieces in the same order,
/// so they pack alike. On the host; on a device each piece is a message, which a group of launches
/// makes cheap. Copies what is packed, and starts. Collective.
Work exchange_packed(Communicator& communicator,
                     std::span<const Message> sends,
                     std::span<const Message> receives,
                     const Queue& after);

}  // namespace enodia
