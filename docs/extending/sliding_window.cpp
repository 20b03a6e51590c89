#include <torch/nn/module.h>

#include "common/error.h"
#include "models/autograd_block.h"

#include "my_parts.h"

namespace {

/// x += attention(norm(x)) in which a token sees itself and the window - 1 tokens before it, inside
/// its segment. For brevity it has no position embedding, as many keys as queries whatever
/// num_key_value_heads says, and spends [S, S] on a segment.
struct SlidingWindow : torch::nn::Module {
  explicit SlidingWindow(const enodia::ModelOptions& o)
      : options(o),
        window(static_cast<int64_t>(o.settings.at("window"))),
        norm(register_parameter("norm", at::empty({o.hidden_size}))),
        qkv(register_parameter("qkv", at::empty({3 * width(), o.hidden_size}))),
        out(register_parameter("out", at::empty({o.hidden_size, width()}))) {
    if (window < 1) {
      throw enodia::ConfigError("parts.window must be at least 1");
    }
  }
  int64_t width() const { return options.num_attention_heads * options.head_dim; }

  at::Tensor forward(const at::Tensor& x_TD, const enodia::SequenceLayout& layout) const {
    const at::Tensor normed = at::rms_norm(x_TD, norm.sizes(), norm, options.rms_norm_eps);
    const at::Tensor projected = at::matmul(normed, qkv.t());
    std::vector<at::Tensor> segments;
    for (int64_t i = 0; i < layout.num_segments(); ++i) {
      const int64_t first = layout.cu_seqlens[i], length = layout.cu_seqlens[i + 1] - first;
      const at::Tensor seen = at::ones({length, length}, at::kBool).tril().triu(1 - window);
      const at::Tensor heads = projected.narrow(0, first, length)
                                   .view({length, 3, -1, options.head_dim})
                                   .permute({1, 2, 0, 3});  // [q, k and v, head, token, d]
      segments.push_back(at::scaled_dot_product_attention(heads[0], heads[1], heads[2], seen)
                             .transpose(0, 1)
                             .flatten(1));
    }
    return x_TD + at::matmul(at::cat(segments), out.t());
  }

  const enodia::ModelOptions options;
  const int64_t window;
  at::Tensor norm, qkv, out;
};

}  // namespace

std::unique_ptr<enodia::Block> make_sliding_window(const enodia::ModelOptions& options,
                                                   const std::string& layer_name,
                                                   int index,
                                                   enodia::ParameterRegistry& registry) {
  const auto module = std::make_shared<SlidingWindow>(options);
  return std::make_unique<enodia::AutogradBlock>(
      module,
      [module](const at::Tensor& x_TD, const enodia::SequenceLayout& layout) {
        return module->forward(x_TD, layout);
      },
      layer_name + ".self_attn",
      index,
      registry);
}
