#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/collectives.h"
#include "collectives/decorators/checked.h"
#include "collectives/progress/communication_thread.h"
#include "common/error.h"
#include "tests/collectives/communicator_contract.h"
#include "tests/mpi_main.h"

#include <unistd.h>

namespace enodia {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class MpiContract : public ::testing::TestWithParam<ContractClause> {};

TEST_P(MpiContract, Holds) {
  GetParam().body(test_world().communicator());
}

TEST_P(MpiContract, HoldsWithTinyPieces) {
  const auto communicator = test_world().make_communicator(509);  // cuts through elements, too
  GetParam().body(*communicator);
}

TEST_P(MpiContract, HoldsOnACommunicationThread) {
  CommunicationThread thread({.chunk_bytes = 100, .chunks_under_way = 3});
  auto communicator = thread.take_over(test_world().make_communicator(), Traffic::kTokens);
  GetParam().body(*communicator);
}

TEST_P(MpiContract, HoldsForTheCheckedDecorator) {
  const auto communicator = make_checked(test_world().make_communicator());
  GetParam().body(*communicator);
}

INSTANTIATE_TEST_SUITE_P(All,
                         MpiContract,
                         ::testing::ValuesIn(contract_clauses().begin(), contract_clauses().end()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Mpi, LivesOnOneNodeHere) {
  for (const int node : test_world().communicator().nodes()) {
    EXPECT_EQ(node, 0);
  }
}

TEST(Mpi, NobodyLeavesABarrierBeforeAllHaveEntered) {
  Communicator& communicator = test_world().communicator();
  const std::string name = "enodia_barrier." + std::to_string(getpid());
  const fs::path folder = fs::path(::testing::TempDir()) / broadcast_text(communicator, name, 0);
  fs::create_directories(folder);
  for (int round = 0; round < 10; ++round) {
    const std::string prefix = std::to_string(round) + ".";
    std::ofstream(folder / (prefix + std::to_string(communicator.rank())));
    communicator.barrier();
    for (int peer = 0; peer < communicator.world_size(); ++peer) {
      EXPECT_TRUE(fs::exists(folder / (prefix + std::to_string(peer))));
    }
  }
  communicator.barrier();
  if (communicator.rank() == 0) {
    fs::remove_all(folder);
  }
}

TEST(Mpi, RefusesPiecesThatAnIntCannotCount) {
  EXPECT_THROW(test_world().make_communicator(int64_t{1} << 31), UsageError);
  EXPECT_THROW(test_world().make_communicator(0), UsageError);
}

/// Rank 0 sends `sent`, rank 1 expects `expected`; the text of what rank 1 throws.
std::optional<std::string> error_of_receiver(const Buffer& sent,
                                             const Buffer& expected,
                                             int64_t chunk_bytes) {
  const auto communicator = test_world().make_communicator(chunk_bytes);
  std::optional<std::string> text;
  try {
    if (communicator->rank() == 0) {
      communicator->exchange(std::vector<Message>{{1, sent}}, {}).wait();
    } else if (communicator->rank() == 1) {
      communicator->exchange({}, std::vector<Message>{{0, expected}}).wait();
    }
  } catch (const CommError& error) {
    text = error.what();
    EXPECT_THROW(communicator->barrier(), CommError) << "a failed communicator stays so";
  }
  return text;
}

TEST(MpiFailure, TheReceiverNoticesAnotherCountOrDType) {
  if (test_world().communicator().world_size() < 2) {
    return;  // nobody to receive
  }
  std::vector<float> memory(8);
  const Buffer five{memory.data(), 5, DType::kFloat32};
  const Buffer four{memory.data(), 4, DType::kFloat32};
  const Buffer five_integers{memory.data(), 5, DType::kInt32};
  const Buffer none{nullptr, 0, DType::kFloat32};
  for (const auto& [sent, expected] : {std::pair{five, four},
                                       std::pair{four, five},
                                       std::pair{five_integers, five},
                                       std::pair{none, four},
                                       std::pair{four, none}}) {
    const auto text = error_of_receiver(sent, expected, MpiWorld::kChunkBytes);
    EXPECT_EQ(text.has_value(), test_world().communicator().rank() == 1);
    if (text) {
      EXPECT_THAT(*text, AllOf(HasSubstr("rank 0"), HasSubstr(std::to_string(expected.count))));
    }
  }
}

TEST(MpiFailure, TheReceiverNoticesAnotherNumberOfPieces) {
  if (test_world().communicator().world_size() < 2) {
    return;  // nobody to receive
  }
  std::vector<float> memory(8);
  const Buffer four{memory.data(), 4, DType::kFloat32};
  const Buffer two{memory.data(), 2, DType::kFloat32};
  for (const auto& [sent, expected] : {std::pair{four, two}, std::pair{two, four}}) {
    const auto text = error_of_receiver(sent, expected, 8);
    EXPECT_EQ(text.has_value(), test_world().communicator().rank() == 1);
  }
}

TEST(MpiFailure, ASkippedExchangeIsNoticedAndNamed) {
  const auto communicator = test_world().make_communicator();
  const int rank = communicator->rank();
  const int world_size = communicator->world_size();
  std::vector<float> out(4);
  std::vector<float> in(4);
  const std::vector<Message> sends{{(rank + 1) % world_size, view(std::span<float>(out))}};
  const std::vector<Message> receives{
      {(rank + world_size - 1) % world_size, view(std::span<float>(in))}};
  communicator->exchange(sends, receives).wait();
  if (rank == 1) {
    communicator->exchange({}, {}).wait();  // the others have one exchange less
  }
  const auto next = [&] { communicator->exchange(sends, receives).wait(); };
  if (rank == 1 || rank == 2 % world_size) {  // those who receive from or as rank 1
    if (world_size > 1) {
      EXPECT_THAT(
          next, ThrowsMessage<CommError>(AllOf(HasSubstr("exchange 2"), HasSubstr("exchange 3"))));
    }
  } else {
    next();
  }
}

TEST(Mpi, TheLauncherIsReadFromTheEnvironment) {
  const Communicator& communicator = test_world().communicator();
  if (std::getenv("OMPI_COMM_WORLD_RANK") != nullptr) {
    EXPECT_EQ(launched_rank().rank, communicator.rank());
    EXPECT_EQ(launched_rank().world_size, communicator.world_size());
  }
}

/// Sets variables for the life of a test; null = unset.
class Environment {
 public:
  explicit Environment(std::vector<std::pair<const char*, const char*>> variables) {
    for (const auto& [name, value] : variables) {
      const char* old = std::getenv(name);
      saved_.emplace_back(name, old == nullptr ? std::nullopt : std::optional<std::string>(old));
      value == nullptr ? unsetenv(name) : setenv(name, value, 1);
    }
  }
  ~Environment() {
    for (const auto& [name, value] : saved_) {
      value ? setenv(name.c_str(), value->c_str(), 1) : unsetenv(name.c_str());
    }
  }

 private:
  std::vector<std::pair<std::string, std::optional<std::string>>> saved_;
};

TEST(LaunchedRank, KnowsOtherLaunchersAndIgnoresHalfOfThem) {
  const Environment no_ompi({{"OMPI_COMM_WORLD_RANK", nullptr},
                             {"OMPI_COMM_WORLD_SIZE", nullptr},
                             {"PMI_RANK", nullptr},
                             {"PMI_SIZE", nullptr},
                             {"SLURM_PROCID", "0"},
                             {"SLURM_STEP_NUM_TASKS", nullptr}});
  EXPECT_EQ(launched_rank().world_size, 1) << "a batch script outside srun";
  const Environment srun({{"SLURM_PROCID", "2"}, {"SLURM_STEP_NUM_TASKS", "3"}});
  EXPECT_EQ(launched_rank().rank, 2);
  EXPECT_EQ(launched_rank().world_size, 3);
  const Environment pmi({{"PMI_RANK", "1"}, {"PMI_SIZE", "4"}});
  EXPECT_EQ(launched_rank().rank, 1);
  EXPECT_EQ(launched_rank().world_size, 4);
  const Environment broken({{"PMI_RANK", "1x"}, {"SLURM_PROCID", "3"}});
  EXPECT_EQ(launched_rank().rank, 0);
  EXPECT_EQ(launched_rank().world_size, 1);
}

}  // namespace
}  // namespace enodia
