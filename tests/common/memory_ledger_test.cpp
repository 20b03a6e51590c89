#include "common/memory_ledger.h"

#include <set>
#include <string>
#include <thread>

#include <gtest/gtest.h>

namespace enodia {
namespace {

int64_t bytes(const MemoryUse::ByKind& counts, MemoryKind kind) {
  return counts[static_cast<size_t>(kind)];
}

TEST(MemoryLedger, CountsByKindAndRemembersThePeaks) {
  MemoryLedger ledger;
  ledger.add(MemoryKind::kGradients, 100);
  ledger.add(MemoryKind::kData, 30);
  ledger.remove(MemoryKind::kGradients, 60);
  ledger.add(MemoryKind::kData, 20);
  const MemoryUse use = ledger.use();
  EXPECT_EQ(bytes(use.current, MemoryKind::kGradients), 40);
  EXPECT_EQ(bytes(use.peak, MemoryKind::kGradients), 100);
  EXPECT_EQ(bytes(use.current, MemoryKind::kData), 50);
  EXPECT_EQ(bytes(use.peak, MemoryKind::kData), 50);
  EXPECT_EQ(bytes(use.peak, MemoryKind::kOptimizer), 0);
  EXPECT_EQ(use.total, 90);
  EXPECT_EQ(use.peak_total, 130) << "not the sum of peaks that lay apart";
}

TEST(MemoryLedger, RestartedPeaksBeginAtWhatIsThere) {
  MemoryLedger ledger;
  ledger.add(MemoryKind::kActivations, 100);
  ledger.remove(MemoryKind::kActivations, 70);
  ledger.restart_peaks();
  EXPECT_EQ(bytes(ledger.use().peak, MemoryKind::kActivations), 30);
  EXPECT_EQ(ledger.use().peak_total, 30);
  ledger.add(MemoryKind::kActivations, 5);
  EXPECT_EQ(ledger.use().peak_total, 35);
}

TEST(MemoryScope, ScopesNestAndBelongToTheirThread) {
  EXPECT_EQ(MemoryScope::current(), MemoryKind::kActivations);
  const MemoryScope outer(MemoryKind::kOptimizer);
  {
    const MemoryScope inner(MemoryKind::kData);
    EXPECT_EQ(MemoryScope::current(), MemoryKind::kData);
    std::thread([] { EXPECT_EQ(MemoryScope::current(), MemoryKind::kActivations); }).join();
  }
  EXPECT_EQ(MemoryScope::current(), MemoryKind::kOptimizer);
}

TEST(MemoryKind, EachHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (size_t kind = 0; kind < kNumMemoryKinds; ++kind) {
    EXPECT_TRUE(names.insert(name_of(static_cast<MemoryKind>(kind))).second) << kind;
  }
}

}  // namespace
}  // namespace enodia
