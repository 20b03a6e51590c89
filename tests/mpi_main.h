#pragma once

#include "collectives/mpi/mpi_world.h"

namespace enodia {

/// The world that tests/mpi_main.cpp started; every rank runs the same tests in the same order.
/// Use EXPECT between collectives: an ASSERT that fails on one rank ends the whole job.
MpiWorld& test_world();

}  // namespace enodia
