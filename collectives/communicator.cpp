#include "collectives/communicator.h"

#include "collectives/collectives.h"

namespace enodia {

std::string_view name_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
      return "sum";
    case ReduceOp::kMin:
      return "min";
    case ReduceOp::kMax:
      return "max";
  }
  return "unknown";
}

Work Communicator::all_reduce(Buffer inout, ReduceOp op, const Queue& after) {
  return fixed_order_all_reduce(*this, std::move(inout), op, after);
}

}  // namespace enodia
