#pragma once

#include <functional>

#include "collectives/communicator.h"
#include "common/error.h"

namespace enodia {

/// An error that every rank has: thrown on all of them with one text, so that they can end in order
/// and rank 0 alone speaks.
class SharedError : public Error {
 public:
  using Error::Error;
};

/// Runs local work that may fail (opening files) on every rank and agrees on the outcome: when any
/// rank failed, all throw SharedError with the text and code of the first that did. Collective.
void run_together(Communicator& communicator, const std::function<void()>& work);

}  // namespace enodia
