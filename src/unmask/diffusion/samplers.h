#pragma once

#include <memory>

#include "unmask/diffusion/sampler.h"

namespace unmask {

// Every sampler, in a file of its own: quota_sampler.cpp, ...; by name: make_sampler.
std::unique_ptr<Sampler> make_quota_sampler();
std::unique_ptr<Sampler> make_threshold_sampler(float threshold);
std::unique_ptr<Sampler> make_threshold_max_sampler(float threshold);
std::unique_ptr<Sampler> make_factor_sampler(float factor);
std::unique_ptr<Sampler> make_hierarchical_sampler(float threshold, float low_threshold);
std::unique_ptr<Sampler> make_credit_sampler(float threshold, float weight, float decay,
                                             float power);
std::unique_ptr<Sampler> make_entropy_bounded_sampler(float bound);
std::unique_ptr<Sampler> make_random_sampler();
std::unique_ptr<Sampler> make_sequential_sampler();
std::unique_ptr<Sampler> make_low_entropy_sampler();
std::unique_ptr<Sampler> make_margin_sampler();
std::unique_ptr<Sampler> make_editing_sampler(float threshold, float edit_threshold);
std::unique_ptr<Sampler> make_levenshtein_sampler(float threshold, float edit_threshold);

}  // namespace unmask
