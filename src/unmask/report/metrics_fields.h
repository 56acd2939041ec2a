#pragma once

#include <type_traits>

#include "unmask/report/metrics.h"

// The names of metrics.jsonl, each once: writing and reading both go through here.

namespace unmask {

template <class Event, class Of>
concept EventOf = std::is_same_v<std::remove_const_t<Event>, Of>;

template <class T>
inline constexpr const char* kKind = nullptr;
template <>
inline constexpr const char* kKind<ConfigEvent> = "config";
template <>
inline constexpr const char* kKind<TrainEvent> = "train";
template <>
inline constexpr const char* kKind<ValidationEvent> = "validation";
template <>
inline constexpr const char* kKind<RoutingEvent> = "routing";
template <>
inline constexpr const char* kKind<CheckpointEvent> = "checkpoint";
template <>
inline constexpr const char* kKind<EndEvent> = "end";

template <class Fields>
void visit_fields(EventOf<Machine> auto& machine, Fields&& field) {
  field("processor", machine.processor);
  field("isa", machine.isa);
  field("threads", machine.threads);
  field("memory_bytes", machine.memory_bytes);
}

// `configuration` is JSON itself and left to the caller.
template <class Fields>
void visit_fields(EventOf<ConfigEvent> auto& event, Fields&& field) {
  field("version", event.version);
  field("parameters", event.parameters);
  field("active_parameters", event.active_parameters);
  field("flops_per_token", event.flops_per_token);
  field("machine", event.machine);
}

template <class Fields>
void visit_clock(auto& event, Fields&& field) {
  field("step", event.step);
  field("tokens", event.tokens);
  field("seconds", event.seconds);
}

template <class Fields>
void visit_fields(EventOf<TrainEvent> auto& event, Fields&& field) {
  visit_clock(event, field);
  field("loss", event.loss);
  field("confidence_loss", event.confidence_loss);
  field("switch_loss", event.switch_loss);
  field("sequence_loss", event.sequence_loss);
  field("z_loss", event.z_loss);
  field("gradient_norm", event.gradient_norm);
  field("learning_rate", event.learning_rate);
  field("tokens_per_second", event.tokens_per_second);
  field("model_flops_per_second", event.model_flops_per_second);
  field("memory_bytes", event.memory_bytes);
}

template <class Fields>
void visit_fields(EventOf<ValidationEvent> auto& event, Fields&& field) {
  visit_clock(event, field);
  field("loss", event.loss);
  field("perplexity", event.perplexity);
  field("bin_loss", event.bin_loss);
  field("bin_count", event.bin_count);
  field("level_mask_ratio", event.level_mask_ratio);
  field("level_loss", event.level_loss);
}

template <class Fields>
void visit_fields(EventOf<LayerRouting> auto& layer, Fields&& field) {
  field("layer", layer.layer);
  field("tokens_per_expert", layer.tokens_per_expert);
  field("experts_per_token_mean", layer.experts_per_token_mean);
  field("experts_per_token_min", layer.experts_per_token_min);
  field("experts_per_token_max", layer.experts_per_token_max);
  field("experts_per_token_std", layer.experts_per_token_std);
  field("max_over_mean_load", layer.max_over_mean_load);
  field("unique_experts", layer.unique_experts);
  field("unique_experts_per_block", layer.unique_experts_per_block);
  field("coreset_size", layer.coreset_size);
  field("entropy", layer.entropy);
  field("dropped_share", layer.dropped_share);
  field("unrouted_share", layer.unrouted_share);
}

template <class Fields>
void visit_fields(EventOf<RoutingEvent> auto& event, Fields&& field) {
  visit_clock(event, field);
  field("layers", event.layers);
  field("mask_ratio", event.mask_ratio);
  field("experts_per_token", event.experts_per_token);
}

template <class Fields>
void visit_fields(EventOf<CheckpointEvent> auto& event, Fields&& field) {
  visit_clock(event, field);
  field("path", event.path);
  field("best", event.best);
  field("seconds_taken", event.seconds_taken);
}

template <class Fields>
void visit_fields(EventOf<EndEvent> auto& event, Fields&& field) {
  visit_clock(event, field);
  field("reason", event.reason);
}

}  // namespace unmask
