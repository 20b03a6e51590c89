#include "parallel/placement/load_forecast.h"

#include <cstdlib>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace enodia {
namespace {

constexpr int kNodes = 2;
constexpr int kExperts = 16;

using Tokens = std::vector<int32_t>;  // [nodes, experts]

NodeCounts counts_of(const Tokens& tokens) {
  NodeCounts counts(kNodes, kExperts);
  counts.assign([&](size_t cell) { return tokens[cell]; });
  return counts;
}

Tokens foretold(const LoadForecast& forecast) {
  NodeCounts counts(kNodes, kExperts);
  forecast.foretell(counts);
  return {counts.tokens().begin(), counts.tokens().end()};
}

int64_t distance(const Tokens& a, const Tokens& b) {
  int64_t sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += std::abs(int64_t{a[i]} - b[i]);
  }
  return sum;
}

/// Micro-batches around a load that stays, expert 0 hottest.
Tokens draw(std::mt19937& random, int hottest = 0) {
  Tokens tokens;
  for (int cell = 0; cell < kNodes * kExperts; ++cell) {
    const int mean = cell % kExperts == hottest ? 900 : 100;
    tokens.push_back(mean - 60 + static_cast<int32_t>(random() % 121));
  }
  return tokens;
}

TEST(LoadForecast, IsOfNoTokensAtFirstAndThenOfTheLast) {
  std::mt19937 random(1);
  LoadForecast forecast(kNodes, kExperts);
  EXPECT_EQ(foretold(forecast), Tokens(kNodes * kExperts, 0));
  const Tokens tokens = draw(random);
  forecast.observe(counts_of(tokens));
  EXPECT_EQ(foretold(forecast), tokens);
}

TEST(LoadForecast, FollowsRoutingThatMoves) {
  LoadForecast forecast(kNodes, kExperts);
  Tokens tokens(kNodes * kExperts, 1000);
  for (int step = 0; step < 50; ++step) {
    for (size_t cell = 0; cell < tokens.size(); ++cell) {
      tokens[cell] += static_cast<int32_t>(cell) - 5;
    }
    forecast.observe(counts_of(tokens));
    EXPECT_EQ(foretold(forecast), tokens);
  }
}

TEST(LoadForecast, AveragesRoutingThatIsDrawnAnew) {
  std::mt19937 random(2);
  LoadForecast forecast(kNodes, kExperts);
  Tokens last = draw(random);
  forecast.observe(counts_of(last));
  int64_t missed = 0;
  int64_t missed_by_last = 0;
  for (int step = 0; step < 200; ++step) {
    const Tokens tokens = draw(random);
    if (step >= 20) {
      missed += distance(foretold(forecast), tokens);
      missed_by_last += distance(last, tokens);
    }
    forecast.observe(counts_of(tokens));
    last = tokens;
  }
  EXPECT_LT(missed, missed_by_last * 8 / 10);
}

TEST(LoadForecast, SeesThroughBursts) {
  std::mt19937 random(5);
  LoadForecast forecast(kNodes, kExperts);
  for (int step = 0; step < 60; ++step) {
    Tokens tokens = draw(random);
    if (step >= 10) {
      for (const int32_t tokens_foretold : foretold(forecast)) {
        EXPECT_LT(tokens_foretold, 1000);
      }
      EXPECT_GT(foretold(forecast)[0], 800);
    }
    tokens[1 + step % (kExperts - 1)] += 5000;
    forecast.observe(counts_of(tokens));
  }
}

TEST(LoadForecast, SaysWhatItHasMissed) {
  LoadForecast forecast(1, 2);
  NodeCounts counts(1, 2);
  EXPECT_EQ(forecast.missed_of_late(), 0);
  for (int step = 0; step < 40; ++step) {  // a fifth of the tokens goes to and fro
    counts.assign([&](size_t cell) { return cell == static_cast<size_t>(step) % 2 ? 600 : 400; });
    forecast.observe(counts);
  }
  // Half of that by a mean.
  EXPECT_GE(forecast.missed_of_late(), 100);
  EXPECT_LE(forecast.missed_of_late(), 110);
  for (int step = 0; step < 40; ++step) {
    forecast.observe(counts);
  }
  EXPECT_LE(forecast.missed_of_late(), 1);
}

TEST(LoadForecast, ForgetsWhatIsOver) {
  std::mt19937 random(3);
  LoadForecast forecast(kNodes, kExperts);
  for (int step = 0; step < 40; ++step) {
    forecast.observe(counts_of(draw(random)));
  }
  for (int step = 0; step < 3; ++step) {
    forecast.observe(counts_of(draw(random, 5)));
  }
  EXPECT_GT(foretold(forecast)[5], 700);
  EXPECT_LT(foretold(forecast)[0], 300);
}

TEST(LoadForecast, GoesOnFromWhatWasSaved) {
  std::mt19937 random(4);
  LoadForecast forecast(kNodes, kExperts);
  for (int step = 0; step < 30; ++step) {
    forecast.observe(counts_of(draw(random)));
  }
  std::vector<int64_t> saved;
  forecast.save(saved);
  LoadForecast other(kNodes, kExperts);
  SavedNumbers numbers(saved);
  other.read(numbers);
  EXPECT_TRUE(numbers.complete());
  for (int step = 0; step < 10; ++step) {
    EXPECT_EQ(foretold(other), foretold(forecast));
    EXPECT_EQ(other.missed_of_late(), forecast.missed_of_late());
    const Tokens tokens = draw(random);
    forecast.observe(counts_of(tokens));
    other.observe(counts_of(tokens));
  }
}

}  // namespace
}  // namespace enodia
