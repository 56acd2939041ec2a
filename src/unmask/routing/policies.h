#pragma once

// Every routing policy, once: POLICY(enumerator, name in files, who chooses). From this list come
// RoutingPolicy::Selection, the declarations of make_<enumerator> (registry.h) and the registry.
// Who chooses is `token` where every token takes k experts, `expert` where experts take tokens and
// a token has any number of them.
#define UNMASK_ROUTING_POLICIES(POLICY)          \
  POLICY(token_choice, "token-choice", token)    \
  POLICY(expert_choice, "expert-choice", expert) \
  POLICY(block_experts, "block-experts", token)  \
  POLICY(block_routing, "block-routing", token)  \
  POLICY(top_k, "top-k", token)                  \
  POLICY(des_seq, "des-seq", token)              \
  POLICY(des_vote, "des-vote", token)            \
  POLICY(coreset_expert_choice, "coreset-expert-choice", expert)
