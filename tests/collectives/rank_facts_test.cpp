#include "collectives/diagnosis/rank_facts.h"

#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/diagnosis/diagnosis.h"
#include "collectives/diagnosis/rank_judgement.h"

#include <unistd.h>

namespace enodia {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(RankFacts, ParsesListsOfCores) {
  EXPECT_THAT(parse_core_list("0-2,7\n"), ElementsAre(0, 1, 2, 7));
  EXPECT_THAT(parse_core_list("5"), ElementsAre(5));
  for (const char* nonsense : {"", "x", "-", "3-1", "1-99999999", "-4"}) {
    EXPECT_THAT(parse_core_list(nonsense), IsEmpty()) << nonsense;
  }
  EXPECT_EQ(core_list_text({0, 1, 2, 7, 9, 10}), "0-2,7,9-10");
  EXPECT_EQ(core_list_text({}), "");
}

TEST(RankFacts, ParsesFilesOfTheKernel) {
  EXPECT_EQ(parse_core_quota("250000 100000"), 2.5);
  for (const char* nothing : {"", "max 100000", "5", "-1 100000", "1 0"}) {
    EXPECT_EQ(parse_core_quota(nothing), std::nullopt) << nothing;
  }
  const char* meminfo = "MemTotal:       24625692 kB\nMemFree: 5 kB\nHugePages_Total:       0\n";
  EXPECT_EQ(parse_meminfo(meminfo, "MemTotal"), int64_t{24625692} * 1024);
  EXPECT_EQ(parse_meminfo(meminfo, "MemFree"), 5 * 1024);
  EXPECT_EQ(parse_meminfo(meminfo, "Mem"), -1);
  EXPECT_EQ(parse_choice("always [madvise] never"), "madvise");
  EXPECT_EQ(parse_choice("no choice"), "");
}

TEST(RankFacts, TellOfThisMachine) {
  const RankFacts facts = read_rank_facts("/");
  EXPECT_FALSE(facts.host.empty());
  EXPECT_EQ(facts.program.size(), 32u);
  EXPECT_FALSE(facts.usable_cores.empty());
  EXPECT_FALSE(facts.bound_cores.empty());
  EXPECT_GT(facts.memory_bytes, 0);
  EXPECT_GT(facts.shared_memory_bytes, 0);
  EXPECT_GT(facts.open_files, 0);
  EXPECT_EQ(to_json(facts_from_json(to_json(facts))), to_json(facts));
}

TEST(RankFacts, SeeWhatMayBeRead) {
  const uint64_t word = 1;
  EXPECT_TRUE(may_read_memory_of(getpid(), reinterpret_cast<uint64_t>(&word)));
  EXPECT_FALSE(may_read_memory_of(getpid(), 8));
}

/// Ranks of one build on machines with `cores` cores and plenty of everything.
std::vector<RankFacts> healthy(size_t ranks, int cores) {
  RankFacts facts;
  facts.host = "host";
  facts.program = "abc";
  facts.mpi_library = "Open MPI v4.1.4";
  facts.transports = {{"btl_vader_single_copy_mechanism", "cma"}};
  for (int core = 0; core < cores; ++core) {
    facts.usable_cores.push_back(core);
  }
  facts.bound_cores = facts.usable_cores;
  facts.shared_memory = "/dev/shm";
  facts.shared_memory_bytes = facts.shared_memory_free_bytes = int64_t{1} << 34;
  facts.memory_bytes = facts.memory_free_bytes = int64_t{1} << 36;
  facts.swap_used_bytes = 0;
  facts.open_files = 1024;
  facts.clock_source = "tsc";
  return std::vector<RankFacts>(ranks, facts);
}

std::vector<std::string> texts(const std::vector<Finding>& findings) {
  std::vector<std::string> texts;
  for (const Finding& finding : findings) {
    EXPECT_FALSE(finding.remedy.empty());
    texts.push_back((finding.severity == Severity::kError ? "error " : "warning ") + finding.topic +
                    ": " + finding.what + "; " + finding.remedy);
  }
  return texts;
}

TEST(JudgeRanks, NamesNothingWhereAllIsWell) {
  const auto facts = healthy(4, 4);
  const std::vector<int> nodes{0, 0, 1, 1};
  const std::vector<ClockOffset> clocks{{0.0, 0.0}, {0.001, 1e-5}, {-0.01, 1e-5}, {0.3, 0.4}};
  EXPECT_THAT(texts(judge_agreement(facts)), IsEmpty());
  EXPECT_THAT(texts(judge_cores(facts, nodes)), IsEmpty());
  EXPECT_THAT(texts(judge_memory(facts, nodes)), IsEmpty());
  EXPECT_THAT(texts(judge_clocks(clocks, clocks, facts)), IsEmpty());
}

TEST(JudgeRanks, NamesRanksWithAnotherProgramLibraryOrProcessor) {
  auto facts = healthy(4, 4);
  facts[2].program = "def";
  facts[3].mpi_library = "MPICH 4";
  facts[1].cpu_flags = {"avx2"};
  EXPECT_THAT(
      texts(judge_agreement(facts)),
      ElementsAre(HasSubstr("error agreement: rank 2 (host) has another program than rank 0"),
                  AllOf(HasSubstr("error agreement: rank 3"),
                        HasSubstr("MPICH 4 instead of Open MPI v4.1.4")),
                  HasSubstr("warning agreement: rank 1")));
}

TEST(JudgeRanks, NamesRanksBoundToOneCoreWhileOthersIdle) {
  auto facts = healthy(4, 8);
  facts[1].bound_cores = facts[2].bound_cores = {3};
  EXPECT_THAT(
      texts(judge_cores(facts, std::vector<int>{0, 0, 0, 0})),
      ElementsAre(AllOf(HasSubstr("warning binding: ranks 1, 2 of node host may run on core "
                                  "3 only: 2 threads on 1 core, while the node has 8"),
                        HasSubstr("--bind-to none"))));
}

TEST(JudgeRanks, NamesARankWithMoreThreadsThanItsBindingHasCores) {
  auto facts = healthy(2, 8);
  facts[0].bound_cores = {0};
  facts[0].threads = facts[1].threads = 4;
  EXPECT_THAT(texts(judge_cores(facts, std::vector<int>{0, 0})),
              ElementsAre(AllOf(HasSubstr("rank 0 of node host"), HasSubstr("slot:PE=4"))));
}

TEST(JudgeRanks, CountsThreadsAgainstCoresOfEachNode) {
  auto facts = healthy(4, 4);
  facts[3].threads = 4;
  facts[2].host = facts[3].host = "other";
  EXPECT_THAT(texts(judge_cores(facts, std::vector<int>{0, 0, 1, 1})),
              ElementsAre(AllOf(HasSubstr("node other runs 5 threads of 2 ranks on 4 cores"),
                                HasSubstr("OMP_NUM_THREADS=2"))));
  EXPECT_THAT(texts(judge_cores(healthy(3, 2), std::vector<int>{0, 0, 0})),
              ElementsAre(HasSubstr("start at most 2 ranks")));
}

TEST(JudgeRanks, NamesAContainersQuota) {
  auto facts = healthy(2, 8);
  facts[0].core_quota = facts[1].core_quota = 1.5;
  EXPECT_THAT(texts(judge_cores(facts, std::vector<int>{0, 0})),
              ElementsAre(HasSubstr("allows 1.50 cores' worth of time to 2 threads")));
}

TEST(JudgeRanks, NamesASharedMemoryFolderThatIsTooSmall) {
  auto facts = healthy(20, 32);
  const std::vector<int> nodes(20, 0);
  for (RankFacts& rank : facts) {
    rank.shared_memory_bytes = rank.shared_memory_free_bytes = int64_t{64} << 20;  // Docker's
  }
  EXPECT_THAT(texts(judge_memory(facts, nodes)),
              ElementsAre(AllOf(HasSubstr("error shared-memory: /dev/shm of node host has 64 MiB"),
                                HasSubstr("20 ranks need 80 MiB"),
                                HasSubstr("--shm-size"))));
  EXPECT_THAT(texts(judge_memory(std::span(facts).first(2), std::vector<int>{0, 0})), IsEmpty());
}

TEST(JudgeRanks, NamesRanksThatMayNotReadTheirNeighbors) {
  auto facts = healthy(2, 2);
  facts[1].may_read_neighbors = false;
  EXPECT_THAT(texts(judge_memory(facts, std::vector<int>{0, 0})),
              ElementsAre(AllOf(HasSubstr("error shared-memory: rank 1"),
                                HasSubstr("btl_vader_single_copy_mechanism none"))));
  facts[1].transports["btl_vader_single_copy_mechanism"] = "none";
  EXPECT_THAT(texts(judge_memory(facts, std::vector<int>{0, 0})), IsEmpty());
}

TEST(JudgeRanks, NamesClocksThatAreApartOrMove) {
  const auto facts = healthy(3, 4);
  const std::vector<ClockOffset> before{{}, {1.5, 1e-4}, {0.001, 1e-4}};
  const std::vector<ClockOffset> after{{}, {1.5, 1e-4}, {0.021, 1e-4}};
  EXPECT_THAT(texts(judge_clocks(before, after, facts)),
              ElementsAre(HasSubstr("rank 1 (host) is 1.500 s ahead"),
                          HasSubstr("rank 2 (host) moved by 20.0 ms")));
}

TEST(Diagnosis, ShowsAMatrixOfFewRanksAndTheSlowestLinksOfMany) {
  for (const int ranks : {1, 3, 20}) {
    const auto size = static_cast<size_t>(ranks);
    Diagnosis diagnosis{healthy(size, 32), std::vector<int>(size), {}, {}, {}};
    diagnosis.clocks.resize(size);
    for (int low = 0; low < ranks; ++low) {
      for (int high = low + 1; high < ranks; ++high) {
        diagnosis.links.push_back({low, high, 1.0, 1.0, 20000.0 + low, 30000.0 + high});
      }
    }
    const std::string text = to_text(diagnosis);
    EXPECT_THAT(text, HasSubstr("nothing wrong was found"));
    EXPECT_THAT(text,
                HasSubstr(ranks == 1   ? "one rank"
                          : ranks == 3 ? "rank     2   30002   30002       -"
                                       : "slowest links of 190"));
    EXPECT_EQ(to_json(diagnosis)["links"].size(), diagnosis.links.size());
    diagnosis.findings = {{Severity::kError, "link", "bad", "mend it"}};
    EXPECT_THAT(to_text(diagnosis), HasSubstr("error (link): bad\n    remedy: mend it"));
    EXPECT_EQ(count_findings(diagnosis, Severity::kError), 1);
  }
}

}  // namespace
}  // namespace enodia
