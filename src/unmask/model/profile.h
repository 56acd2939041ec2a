#pragma once

#include "unmask/base/clock.h"

namespace unmask {

// Seconds spent by the parts of a model, forward and backward, since it was last zeroed.
struct Profile {
  double attention = 0;  // norm, projections, attention
  double router = 0;     // logits, selection, weights, auxiliary losses
  double experts = 0;    // routed experts
  double shared = 0;     // shared experts and dense feed-forwards
  double head = 0;       // output projection and cross-entropy
  double total = 0;      // of all calls

  void add(const Profile& p, double share) {
    attention += share * p.attention;
    router += share * p.router;
    experts += share * p.experts;
    shared += share * p.shared;
    head += share * p.head;
    total += share * p.total;
  }
  double other() const { return total - attention - router - experts - shared - head; }
};

// Adds the time that it lives to one of them.
class ProfileScope {
 public:
  explicit ProfileScope(double& seconds) : seconds_(seconds) {}
  ~ProfileScope() { seconds_ += seconds_now() - begin_; }
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  double& seconds_;
  double begin_ = seconds_now();
};

}  // namespace unmask
