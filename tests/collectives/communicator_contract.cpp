#include "tests/collectives/communicator_contract.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/collectives.h"
#include "common/error.h"
#include "common/random.h"

namespace enodia {
namespace {

using ::testing::ElementsAreArray;

constexpr std::array kAllDTypes{DType::kUInt8,
                                DType::kInt32,
                                DType::kInt64,
                                DType::kFloat32,
                                DType::kFloat64,
                                DType::kBFloat16};

// ---- building blocks ----

template <typename T>
Buffer view_of(std::vector<T>& elements) {
  return view(std::span<T>(elements));
}

/// What rank `from` sends to rank `to` as its message `number`.
std::vector<int64_t> letter(int from, int to, int number, int64_t count) {
  std::vector<int64_t> content(static_cast<size_t>(count));
  std::iota(content.begin(), content.end(), 1'000'000 * (from + 1) + 10'000 * to + 100 * number);
  return content;
}

/// Uneven, zero for some pairs.
int64_t uneven_count(int from, int to) {
  return (3 * from + 5 * to) % 7;
}

/// A value of rank `rank` whose sums depend on the order in floating point: magnitudes from 2^-12
/// to 2^12 and both signs.
double spread_value(int rank, int64_t index) {
  const RandomKey key = RandomKey(17).with(static_cast<uint64_t>(rank));
  const double scale = std::exp2(24 * random_uniform(key.with("scale"), index) - 12);
  return scale * random_normal(key.with("value"), index);
}

template <typename T>
T test_value(int rank, int64_t index) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(spread_value(rank, index));
  } else {
    return static_cast<T>(philox(RandomKey(17).with(static_cast<uint64_t>(rank)), index)[0]);
  }
}

/// Bit patterns, so that -0 and +0 differ and NaN equals itself.
template <typename T>
std::vector<uint8_t> bits_of(const std::vector<T>& elements) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(elements.data());
  return std::vector<uint8_t>(bytes, bytes + elements.size() * sizeof(T));
}

/// The obvious all_reduce: one element after the other, rank 0 first.
template <typename T>
std::vector<T> sequential_reference(int world_size, int64_t count, ReduceOp op) {
  std::vector<T> result;
  for (int64_t i = 0; i < count; ++i) {
    T total = test_value<T>(0, i);
    for (int rank = 1; rank < world_size; ++rank) {
      const T value = test_value<T>(rank, i);
      if (op == ReduceOp::kSum) {
        total = static_cast<T>(total + value);
      } else {
        total = op == ReduceOp::kMin ? std::min(total, value) : std::max(total, value);
      }
    }
    result.push_back(total);
  }
  return result;
}

template <typename T>
void expect_reduces_as_reference(Communicator& communicator, int64_t count, ReduceOp op) {
  std::vector<T> values;
  for (int64_t i = 0; i < count; ++i) {
    values.push_back(test_value<T>(communicator.rank(), i));
  }
  communicator.all_reduce(view_of(values), op).wait();
  const auto expected = sequential_reference<T>(communicator.world_size(), count, op);
  EXPECT_EQ(bits_of(values), bits_of(expected))
      << count << " " << name_of(dtype_of<T>()) << " " << name_of(op) << " on rank "
      << communicator.rank();
}

// ---- exchange ----

void exchanges_uneven_counts(Communicator& communicator) {
  const int rank = communicator.rank();
  const int world_size = communicator.world_size();
  std::vector<std::vector<int64_t>> outgoing;
  std::vector<std::vector<int64_t>> incoming;
  for (int peer = 0; peer < world_size; ++peer) {
    outgoing.push_back(letter(rank, peer, 0, uneven_count(rank, peer)));
    incoming.emplace_back(uneven_count(peer, rank), -1);
  }
  std::vector<Message> sends;
  std::vector<Message> receives;
  for (int peer = world_size - 1; peer >= 0; --peer) {
    sends.push_back({peer, view_of(outgoing[peer])});
    receives.push_back({peer, view_of(incoming[peer])});
  }
  communicator.exchange(sends, receives).wait();
  for (int peer = 0; peer < world_size; ++peer) {
    EXPECT_EQ(incoming[peer], letter(peer, rank, 0, uneven_count(peer, rank)));
  }
}

void keeps_the_order_of_many_messages_to_one_peer(Communicator& communicator) {
  constexpr int kMessages = 50;
  const int rank = communicator.rank();
  const int world_size = communicator.world_size();
  const int next = (rank + 1) % world_size;
  const int previous = (rank + world_size - 1) % world_size;
  std::vector<std::vector<int64_t>> outgoing;
  std::vector<std::vector<int64_t>> incoming;
  for (int i = 0; i < kMessages; ++i) {
    outgoing.push_back(letter(rank, next, i, 3 * (i % 4)));
    incoming.emplace_back(3 * (i % 4), -1);
  }
  std::vector<Message> sends;
  std::vector<Message> receives;
  for (int i = 0; i < kMessages; ++i) {
    sends.push_back({next, view_of(outgoing[i])});
    receives.push_back({previous, view_of(incoming[i])});
  }
  communicator.exchange(sends, receives).wait();
  for (int i = 0; i < kMessages; ++i) {
    EXPECT_EQ(incoming[i], letter(previous, rank, i, 3 * (i % 4))) << "message " << i;
  }
}

void copies_messages_to_oneself(Communicator& communicator) {
  const int rank = communicator.rank();
  auto first = letter(rank, rank, 1, 4);
  auto second = letter(rank, rank, 2, 4);
  std::vector<int64_t> got_first(4);
  std::vector<int64_t> got_second(4);
  communicator
      .exchange(std::vector<Message>{{rank, view_of(first)}, {rank, view_of(second)}},
                std::vector<Message>{{rank, view_of(got_first)}, {rank, view_of(got_second)}})
      .wait();
  EXPECT_EQ(got_first, first);
  EXPECT_EQ(got_second, second);
  communicator  // in place
      .exchange(std::vector<Message>{{rank, view_of(first)}},
                std::vector<Message>{{rank, view_of(first)}})
      .wait();
  EXPECT_EQ(first, got_first);
}

void moves_every_dtype(Communicator& communicator) {
  const int rank = communicator.rank();
  const int world_size = communicator.world_size();
  const int next = (rank + 1) % world_size;
  const int previous = (rank + world_size - 1) % world_size;
  for (const DType dtype : kAllDTypes) {
    constexpr int64_t kCount = 37;
    std::vector<uint8_t> outgoing(kCount * size_of(dtype));
    std::vector<uint8_t> incoming(outgoing.size());
    for (size_t i = 0; i < outgoing.size(); ++i) {
      outgoing[i] = static_cast<uint8_t>(i * 3 + rank);
    }
    communicator
        .exchange(std::vector<Message>{{next, Buffer{outgoing.data(), kCount, dtype}}},
                  std::vector<Message>{{previous, Buffer{incoming.data(), kCount, dtype}}})
        .wait();
    for (size_t i = 0; i < incoming.size(); ++i) {
      EXPECT_EQ(incoming[i], static_cast<uint8_t>(i * 3 + previous)) << name_of(dtype);
    }
  }
}

void accepts_nothing_at_all(Communicator& communicator) {
  Work work = communicator.exchange({}, {});
  work.wait();
  EXPECT_TRUE(work.done());
  std::vector<Message> empty;
  for (int peer = 0; peer < communicator.world_size(); ++peer) {
    empty.push_back({peer, Buffer{nullptr, 0, DType::kFloat32}});
  }
  communicator.exchange(empty, empty).wait();
  communicator.all_reduce(Buffer{nullptr, 0, DType::kBFloat16}, ReduceOp::kSum).wait();
  communicator.broadcast(Buffer{nullptr, 0, DType::kInt32}, 0).wait();
  communicator.barrier();
}

void finishes_exchanges_in_any_order(Communicator& communicator) {
  constexpr int kExchanges = 6;
  const int rank = communicator.rank();
  const int world_size = communicator.world_size();
  std::vector<std::vector<int64_t>> buffers;  // buffers[2 i] goes out, buffers[2 i + 1] comes in
  for (int i = 0; i < kExchanges; ++i) {
    const int next = (rank + i) % world_size;
    buffers.push_back(letter(rank, next, i, 1000));
    buffers.emplace_back(1000, -1);
  }
  std::vector<Work> works;
  for (int i = 0; i < kExchanges; ++i) {
    const int next = (rank + i) % world_size;
    const int previous = (rank + kExchanges * world_size - i) % world_size;
    works.push_back(
        communicator.exchange(std::vector<Message>{{next, view_of(buffers[2 * i])}},
                              std::vector<Message>{{previous, view_of(buffers[2 * i + 1])}}));
  }
  for (const int i : {4, 0, 5, 2, 1, 3}) {
    const int turn = (i + rank) % kExchanges;  // another order on every rank
    const int previous = (rank + kExchanges * world_size - turn) % world_size;
    works[turn].wait();
    EXPECT_EQ(buffers[2 * turn + 1], letter(previous, rank, turn, 1000));
  }
}

void a_work_can_be_moved_asked_and_dropped(Communicator& communicator) {
  const int rank = communicator.rank();
  const int world_size = communicator.world_size();
  const int next = (rank + 1) % world_size;
  const int previous = (rank + world_size - 1) % world_size;
  auto outgoing = letter(rank, next, 0, 5);
  std::vector<int64_t> incoming(5);
  const std::vector<Message> sends{{next, view_of(outgoing)}};
  const std::vector<Message> receives{{previous, view_of(incoming)}};
  { Work dropped = communicator.exchange(sends, receives); }
  EXPECT_EQ(incoming, letter(previous, rank, 0, 5)) << "the destructor waits";

  std::fill(incoming.begin(), incoming.end(), -1);
  Work first = communicator.exchange(sends, receives);
  Work second = std::move(first);
  while (!second.done()) {
  }
  EXPECT_EQ(incoming, letter(previous, rank, 0, 5)) << "a work that is done has its result";
  second.wait();
  EXPECT_TRUE(second.done());

  std::fill(incoming.begin(), incoming.end(), -1);
  second = communicator.exchange(sends, receives);
  second = Work();  // assignment waits for what it replaces
  EXPECT_EQ(incoming, letter(previous, rank, 0, 5));
}

void a_work_keeps_its_buffers_alive(Communicator& communicator) {
  const int rank = communicator.rank();
  auto owner = std::make_shared<std::vector<int64_t>>(letter(rank, rank, 0, 3));
  std::vector<int64_t> incoming(3);
  Buffer buffer = view_of(*owner);
  buffer.keep = owner;
  const std::weak_ptr<std::vector<int64_t>> observer = owner;
  Work work = communicator.exchange(std::vector<Message>{{rank, buffer}},
                                    std::vector<Message>{{rank, view_of(incoming)}});
  owner.reset();
  buffer.keep.reset();
  EXPECT_FALSE(observer.expired());
  work.wait();
  EXPECT_TRUE(observer.expired());
}

/// What a rank receives in one round it adds its own to and sends on in the next; another operation
/// is asked for meanwhile.
void follows_the_order_of_rounds(Communicator& communicator) {
  const int num_ranks = communicator.world_size();
  const int rank = communicator.rank();
  const int next = (rank + 1) % num_ranks;
  const int previous = (rank + num_ranks - 1) % num_ranks;
  std::vector<std::vector<int64_t>> passed(static_cast<size_t>(num_ranks) + 1);
  for (auto& values : passed) {
    values.assign(300, 1 << rank);
  }
  std::vector<ExchangeRound> rounds;
  for (int i = 0; i < num_ranks; ++i) {
    rounds.push_back({{{next, view_of(passed[i])}},
                      {{previous, view_of(passed[i + 1])}},
                      [&passed, i, rank] {
                        for (int64_t& value : passed[i + 1]) {
                          value += 1 << rank;
                        }
                      },
                      i - 1});
  }
  Work under_way = communicator.exchange_in_rounds(std::move(rounds));
  std::vector<int64_t> other{rank};
  Work meanwhile = communicator.all_reduce(view_of(other), ReduceOp::kSum);
  under_way.wait();
  meanwhile.wait();
  const std::vector<int64_t> all(300, (1 << num_ranks) - 1 + (1 << rank));
  EXPECT_EQ(passed.back(), all) << "a value that came by every rank";
  EXPECT_EQ(other[0], num_ranks * (num_ranks - 1) / 2);
  communicator.exchange_in_rounds({}).wait();
}

void refuses_wrong_peers_and_null_data(Communicator& communicator) {
  std::vector<float> values(1);
  const std::vector<Message> outside{{communicator.world_size(), view_of(values)}};
  const std::vector<Message> negative{{-1, view_of(values)}};
  const std::vector<Message> null{{communicator.rank(), Buffer{nullptr, 1, DType::kFloat32}}};
  const std::vector<Message> unpaired{{communicator.rank(), view_of(values)}};
  EXPECT_THROW(communicator.exchange(outside, {}).wait(), UsageError);
  EXPECT_THROW(communicator.exchange({}, negative).wait(), UsageError);
  EXPECT_THROW(communicator.exchange(null, null).wait(), UsageError);
  EXPECT_THROW(communicator.broadcast(view_of(values), communicator.world_size()).wait(),
               UsageError);
  EXPECT_THROW(communicator.exchange(unpaired, {}).wait(), Error);
  communicator.barrier();  // still usable
}

// ---- reductions ----

void reduces_with_the_bits_of_a_sequential_sum(Communicator& communicator) {
  for (const int64_t count : {1, 2, 3, 7, 64, 1021, 5000}) {  // divisible or not, below the world
    for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMin, ReduceOp::kMax}) {
      expect_reduces_as_reference<uint8_t>(communicator, count, op);
      expect_reduces_as_reference<int64_t>(communicator, count, op);
      expect_reduces_as_reference<float>(communicator, count, op);
      expect_reduces_as_reference<double>(communicator, count, op);
    }
    for (const ReduceOp op : {ReduceOp::kMin, ReduceOp::kMax}) {
      expect_reduces_as_reference<int32_t>(communicator, count, op);
    }
  }
}

void sums_bfloat16_in_float32(Communicator& communicator) {
  constexpr int64_t kCount = 777;
  const int world_size = communicator.world_size();
  std::vector<uint16_t> values;
  for (int64_t i = 0; i < kCount; ++i) {
    values.push_back(bfloat16_from_float(test_value<float>(communicator.rank(), i)));
  }
  communicator.all_reduce(Buffer{values.data(), kCount, DType::kBFloat16}, ReduceOp::kSum).wait();
  for (int64_t i = 0; i < kCount; ++i) {
    float total = float_from_bfloat16(bfloat16_from_float(test_value<float>(0, i)));
    for (int rank = 1; rank < world_size; ++rank) {
      total += float_from_bfloat16(bfloat16_from_float(test_value<float>(rank, i)));
    }
    EXPECT_EQ(values[i], bfloat16_from_float(total)) << i;
  }
}

void integers_wrap_around(Communicator& communicator) {
  const int world_size = communicator.world_size();
  std::vector<int32_t> values{std::numeric_limits<int32_t>::max(), 1};
  communicator.all_reduce(view_of(values), ReduceOp::kSum).wait();
  const auto expected =
      static_cast<int32_t>(static_cast<uint32_t>(world_size) * uint32_t{0x7FFFFFFF});
  EXPECT_EQ(values[0], expected);
  EXPECT_EQ(values[1], world_size);
}

void a_nan_anywhere_stays_a_nan(Communicator& communicator) {
  const int world_size = communicator.world_size();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMin, ReduceOp::kMax}) {
    for (int bad_rank = 0; bad_rank < world_size; ++bad_rank) {
      const double mine = communicator.rank() == bad_rank ? nan : 1.0;
      EXPECT_TRUE(std::isnan(all_reduce_value(communicator, mine, op))) << name_of(op);
      EXPECT_TRUE(std::isnan(all_reduce_value(communicator, static_cast<float>(mine), op)));
      uint16_t half = bfloat16_from_float(static_cast<float>(mine));
      communicator.all_reduce(Buffer{&half, 1, DType::kBFloat16}, op).wait();
      EXPECT_TRUE(std::isnan(float_from_bfloat16(half))) << name_of(op);
    }
  }
  const double infinity = std::numeric_limits<double>::infinity();
  const double mine = communicator.rank() == 0 ? infinity : 1.0;
  EXPECT_EQ(all_reduce_value(communicator, mine, ReduceOp::kSum), infinity);
}

// ---- the other collectives ----

void broadcasts_from_each_root(Communicator& communicator) {
  for (int root = 0; root < communicator.world_size(); ++root) {
    std::vector<int64_t> values(100, -1);
    if (communicator.rank() == root) {
      values = letter(root, 0, root, 100);
    }
    communicator.broadcast(view_of(values), root).wait();
    EXPECT_EQ(values, letter(root, 0, root, 100));
  }
}

void all_to_all_follows_the_counts(Communicator& communicator) {
  const int rank = communicator.rank();
  const int world_size = communicator.world_size();
  std::vector<int64_t> send_counts;
  std::vector<int64_t> receive_counts;
  std::vector<int64_t> outgoing;
  std::vector<int64_t> expected;
  for (int peer = 0; peer < world_size; ++peer) {
    send_counts.push_back(uneven_count(rank, peer));
    receive_counts.push_back(uneven_count(peer, rank));
    const auto to_peer = letter(rank, peer, 0, send_counts.back());
    const auto from_peer = letter(peer, rank, 0, receive_counts.back());
    outgoing.insert(outgoing.end(), to_peer.begin(), to_peer.end());
    expected.insert(expected.end(), from_peer.begin(), from_peer.end());
  }
  std::vector<int64_t> incoming(expected.size(), -1);
  all_to_all(communicator, view_of(outgoing), send_counts, view_of(incoming), receive_counts)
      .wait();
  EXPECT_EQ(incoming, expected);

  send_counts[0] += 1;
  EXPECT_THROW(
      all_to_all(communicator, view_of(outgoing), send_counts, view_of(incoming), receive_counts)
          .wait(),
      UsageError);
}

void all_gather_is_in_rank_order(Communicator& communicator) {
  for (const int64_t count : {0, 1, 5}) {
    auto mine = letter(communicator.rank(), 0, 0, count);
    std::vector<int64_t> expected;
    for (int peer = 0; peer < communicator.world_size(); ++peer) {
      const auto theirs = letter(peer, 0, 0, count);
      expected.insert(expected.end(), theirs.begin(), theirs.end());
    }
    std::vector<int64_t> all(expected.size(), -1);
    all_gather(communicator, view_of(mine), view_of(all)).wait();
    EXPECT_EQ(all, expected);
  }
}

void texts_of_any_length_arrive(Communicator& communicator) {
  const int rank = communicator.rank();
  const int world_size = communicator.world_size();
  for (const size_t length : {0, 1, 100'000}) {
    for (int root = 0; root < world_size; ++root) {
      const std::string text = rank == root ? std::string(length, '\0') : "ignored";
      EXPECT_EQ(broadcast_text(communicator, text, root), std::string(length, '\0'));
    }
  }
  std::vector<std::string> expected;
  for (int peer = 0; peer < world_size; ++peer) {
    expected.emplace_back(static_cast<size_t>(1000 * peer), static_cast<char>('a' + peer));
  }
  EXPECT_EQ(all_gather_text(communicator, expected[rank]), expected);
  for (int root = 0; root < world_size; ++root) {
    const std::vector<std::string> none;
    EXPECT_EQ(gather_text(communicator, expected[rank], root), rank == root ? expected : none);
  }
}

void barriers_can_be_repeated(Communicator& communicator) {
  for (int i = 0; i < 20; ++i) {
    communicator.barrier();
  }
  EXPECT_EQ(all_reduce_value(communicator, int64_t{1}, ReduceOp::kSum), communicator.world_size());
}

// ---- groups ----

void splits_into_even_and_odd(Communicator& communicator) {
  const int rank = communicator.rank();
  const auto half = communicator.split(rank % 2, 0);
  EXPECT_EQ(half->rank(), rank / 2);
  EXPECT_EQ(half->world_size(), (communicator.world_size() + 1 - rank % 2) / 2);
  int64_t expected = 0;
  for (int peer = rank % 2; peer < communicator.world_size(); peer += 2) {
    expected += peer;
  }
  EXPECT_EQ(all_reduce_value(*half, int64_t{rank}, ReduceOp::kSum), expected);

  const auto quarter = half->split(half->rank() % 2, 0);  // a group of a group
  EXPECT_EQ(quarter->rank(), rank / 4);
  EXPECT_EQ(all_reduce_value(*quarter, int64_t{rank % 4}, ReduceOp::kMin), rank % 4);
}

void the_key_orders_a_split(Communicator& communicator) {
  const int rank = communicator.rank();
  const int world_size = communicator.world_size();
  const auto reversed = communicator.split(7, -rank);
  EXPECT_EQ(reversed->rank(), world_size - 1 - rank);
  std::vector<int32_t> mine{rank};
  std::vector<int32_t> all(world_size);
  std::vector<int32_t> expected(world_size);
  std::iota(expected.rbegin(), expected.rend(), 0);
  all_gather(*reversed, view_of(mine), view_of(all)).wait();
  EXPECT_EQ(all, expected);

  const auto same = communicator.split(0, 5);  // equal keys: by rank
  EXPECT_EQ(same->rank(), rank);
  const auto alone = communicator.split(rank, 0);
  EXPECT_EQ(alone->world_size(), 1);
  EXPECT_EQ(all_reduce_value(*alone, int64_t{rank}, ReduceOp::kSum), rank);
  EXPECT_THROW(communicator.split(-1, 0), UsageError);
}

void communicators_do_not_mix(Communicator& communicator) {
  const int rank = communicator.rank();
  const int world_size = communicator.world_size();
  const int next = (rank + 1) % world_size;
  const int previous = (rank + world_size - 1) % world_size;
  const auto other = communicator.split(0, 0);
  auto first = letter(rank, next, 1, 10);
  auto second = letter(rank, next, 2, 10);
  std::vector<int64_t> got_first(10);
  std::vector<int64_t> got_second(10);
  const auto start = [&](Communicator& on, std::vector<int64_t>& out, std::vector<int64_t>& in) {
    return on.exchange(std::vector<Message>{{next, view_of(out)}},
                       std::vector<Message>{{previous, view_of(in)}});
  };
  Work on_first = start(communicator, first, got_first);
  Work on_second = start(*other, second, got_second);
  on_second.wait();
  on_first.wait();
  EXPECT_EQ(got_first, letter(previous, rank, 1, 10));
  EXPECT_EQ(got_second, letter(previous, rank, 2, 10));
}

void nodes_are_dense_and_the_same_everywhere(Communicator& communicator) {
  const auto nodes = communicator.nodes();
  EXPECT_EQ(nodes.size(), static_cast<size_t>(communicator.world_size()));
  EXPECT_EQ(nodes[0], 0);
  int highest = 0;
  for (const int node : nodes) {
    EXPECT_GE(node, 0);
    EXPECT_LE(node, highest + 1);
    highest = std::max(highest, node);
  }
  std::vector<int32_t> agreed(nodes.begin(), nodes.end());
  communicator.broadcast(view_of(agreed), 0).wait();
  EXPECT_THAT(nodes, ElementsAreArray(agreed));
}

constexpr std::array kClauses{
    ContractClause{"ExchangesUnevenCounts", exchanges_uneven_counts},
    ContractClause{"KeepsTheOrderOfManyMessagesToOnePeer",
                   keeps_the_order_of_many_messages_to_one_peer},
    ContractClause{"CopiesMessagesToOneself", copies_messages_to_oneself},
    ContractClause{"MovesEveryDType", moves_every_dtype},
    ContractClause{"AcceptsNothingAtAll", accepts_nothing_at_all},
    ContractClause{"FinishesExchangesInAnyOrder", finishes_exchanges_in_any_order},
    ContractClause{"AWorkCanBeMovedAskedAndDropped", a_work_can_be_moved_asked_and_dropped},
    ContractClause{"AWorkKeepsItsBuffersAlive", a_work_keeps_its_buffers_alive},
    ContractClause{"FollowsTheOrderOfRounds", follows_the_order_of_rounds},
    ContractClause{"RefusesWrongPeersAndNullData", refuses_wrong_peers_and_null_data},
    ContractClause{"ReducesWithTheBitsOfASequentialSum", reduces_with_the_bits_of_a_sequential_sum},
    ContractClause{"SumsBFloat16InFloat32", sums_bfloat16_in_float32},
    ContractClause{"IntegersWrapAround", integers_wrap_around},
    ContractClause{"ANaNAnywhereStaysANaN", a_nan_anywhere_stays_a_nan},
    ContractClause{"BroadcastsFromEachRoot", broadcasts_from_each_root},
    ContractClause{"AllToAllFollowsTheCounts", all_to_all_follows_the_counts},
    ContractClause{"AllGatherIsInRankOrder", all_gather_is_in_rank_order},
    ContractClause{"TextsOfAnyLengthArrive", texts_of_any_length_arrive},
    ContractClause{"BarriersCanBeRepeated", barriers_can_be_repeated},
    ContractClause{"SplitsIntoEvenAndOdd", splits_into_even_and_odd},
    ContractClause{"TheKeyOrdersASplit", the_key_orders_a_split},
    ContractClause{"CommunicatorsDoNotMix", communicators_do_not_mix},
    ContractClause{"NodesAreDenseAndTheSameEverywhere", nodes_are_dense_and_the_same_everywhere},
};

}  // namespace

std::span<const ContractClause> contract_clauses() {
  return kClauses;
}

}  // namespace enodia
