#include "tests/references/parity.h"

#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>

namespace enodia {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr ParityType kSingle = ParityType::kFloat32;
constexpr ParityType kDouble = ParityType::kFloat64;

NamedTensors two_tensors() {
  at::Tensor b = at::full({2, 2}, 3.0, at::kDouble);
  b[1].zero_();
  return {{"a", at::ones({4}, at::kDouble)}, {"b", b}};
}

NamedTensors with(const std::string& name, const at::Tensor& tensor) {
  NamedTensors tensors = two_tensors();
  tensors[name] = tensor;
  return tensors;
}

TEST(Parity, ErrorIsRelativeToTheReference) {
  const at::Tensor t64 = at::full({4}, 2.0, at::kDouble);
  at::Tensor t = t64.clone();
  EXPECT_EQ(parity_error(t, t64), 0.0);
  t[0] = 2.4;
  EXPECT_NEAR(parity_error(t, t64), 0.1, 1e-15);
  EXPECT_EQ(parity_error(at::zeros({0}, at::kFloat), at::zeros({0}, at::kDouble)), 0.0);
}

TEST(Parity, EqualTensorsOfAnyTypePass) {
  NamedTensors single;
  for (const auto& [name, tensor] : two_tensors()) {
    single[name] = tensor.to(at::kFloat);
  }
  EXPECT_THAT(
      parity_violations("w2", single, parity_errors(single, two_tensors()), two_tensors(), kSingle),
      IsEmpty());
  EXPECT_THAT(one_rank_violations("w1", single, two_tensors(), kSingle), IsEmpty());
}

TEST(Parity, NamesThePerturbedTensorWithItsError) {
  const NamedTensors off = with("a", at::full({4}, 1.0 + 1e-5, at::kDouble));
  const auto found = parity_violations(
      "w2 gradient", off, parity_errors(two_tensors(), two_tensors()), two_tensors(), kSingle);
  EXPECT_THAT(found, ElementsAre("w2 gradient a has error 1e-05, allowed is 9.537e-07"));
}

TEST(Parity, AllowsFourTimesTheErrorOfOneRank) {
  const NamedTensors one_rank = with("a", at::full({4}, 1.0 + 1e-5, at::kDouble));
  const NamedTensors near = with("a", at::full({4}, 1.0 - 3.9e-5, at::kDouble));
  const NamedTensors far = with("a", at::full({4}, 1.0 - 4.1e-5, at::kDouble));
  EXPECT_THAT(
      parity_violations("w2", near, parity_errors(one_rank, two_tensors()), two_tensors(), kSingle),
      IsEmpty());
  EXPECT_THAT(
      parity_violations("w2", far, parity_errors(one_rank, two_tensors()), two_tensors(), kSingle),
      SizeIs(1));
}

TEST(Parity, MeasuresByTheWorstTensorWhenAsked) {
  const NamedTensors one_rank = with("b", two_tensors().at("b") * (1.0 + 1e-5));
  const NamedTensors off = with("a", at::full({4}, 1.0 + 3e-5, at::kDouble));
  EXPECT_THAT(
      parity_violations("w2", off, parity_errors(one_rank, two_tensors()), two_tensors(), kSingle),
      SizeIs(1));
  EXPECT_THAT(parity_violations("w2",
                                off,
                                parity_errors(one_rank, two_tensors()),
                                two_tensors(),
                                kSingle,
                                ParityMeasure::kWorstTensor),
              IsEmpty());
  const NamedTensors far = with("a", at::full({4}, 1.0 + 5e-5, at::kDouble));
  EXPECT_THAT(parity_violations("w2",
                                far,
                                parity_errors(one_rank, two_tensors()),
                                two_tensors(),
                                kSingle,
                                ParityMeasure::kWorstTensor),
              SizeIs(1));
}

TEST(Parity, InDoublePrecisionTheBoundIsFixed) {
  const NamedTensors off = with("a", at::full({4}, 1.0 + 2e-9, at::kDouble));
  const NamedTensors near = with("a", at::full({4}, 1.0 + 0.5e-9, at::kDouble));
  EXPECT_THAT(
      parity_violations("w2", off, parity_errors(off, two_tensors()), two_tensors(), kDouble),
      SizeIs(1));
  EXPECT_THAT(parity_violations(
                  "w2", near, parity_errors(two_tensors(), two_tensors()), two_tensors(), kDouble),
              IsEmpty());
  EXPECT_THAT(one_rank_violations("w1", off, two_tensors(), kDouble), SizeIs(1));
}

TEST(Parity, AnExactZeroMustBeExactlyZero) {
  at::Tensor b = two_tensors().at("b");
  b[1][0] = 1e-30;  // far below any error bound
  const auto found = parity_violations(
      "w2", with("b", b), parity_errors(two_tensors(), two_tensors()), two_tensors(), kDouble);
  EXPECT_THAT(found, ElementsAre(HasSubstr("w2 b is not zero in 1 elements")));
  b[1][0] = -0.0;
  EXPECT_THAT(
      parity_violations(
          "w2", with("b", b), parity_errors(two_tensors(), two_tensors()), two_tensors(), kDouble),
      IsEmpty());
}

TEST(Parity, WhatIsNotFiniteNeverPasses) {
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    const NamedTensors broken = with("a", at::full({4}, bad, at::kDouble));
    // Not even when one rank is as broken.
    EXPECT_THAT(parity_violations(
                    "w2", broken, parity_errors(broken, two_tensors()), two_tensors(), kSingle),
                SizeIs(1));
    EXPECT_THAT(one_rank_violations("w1", broken, two_tensors(), kSingle), SizeIs(1));
  }
}

TEST(Parity, NamesMissingUnknownAndMisshapenTensors) {
  NamedTensors strange = two_tensors();
  strange.erase("a");
  strange["b"] = at::ones({3}, at::kDouble);
  strange["c"] = at::ones({1}, at::kDouble);
  EXPECT_THAT(parity_violations(
                  "w2", strange, parity_errors(strange, two_tensors()), two_tensors(), kSingle),
              ElementsAre("w2 a is missing",
                          "w2 b has shape [3], the reference [2, 2]",
                          "w2 c is unknown to the reference"));
}

}  // namespace
}  // namespace enodia
