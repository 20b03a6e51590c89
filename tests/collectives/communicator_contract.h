#pragma once

#include <ostream>
#include <span>

#include "collectives/communicator.h"

namespace enodia {

/// One clause of what every Communicator promises. All ranks call `body`, each with its own
/// communicator; it reports through EXPECT.
struct ContractClause {
  const char* name;
  void (*body)(Communicator&);
};

std::span<const ContractClause> contract_clauses();

inline void PrintTo(const ContractClause& clause, std::ostream* stream) {
  *stream << clause.name;
}

}  // namespace enodia
