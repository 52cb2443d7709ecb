/* Names and labels for tools that look at a program from outside (RenderDoc, RGP, Nsight): VK_EXT_debug_utils,
 * and where frames begin and end in a program that presents nothing. Every call does nothing unless
 * rf_gpu_desc.debug_labels asked for it and the loader has the extension. */
#ifndef RF_GPU_LABELS_H
#define RF_GPU_LABELS_H

#include "engine/gpu/device.h"

bool rf_gpu_labelled(const struct rf_gpu *gpu);
/* A frame is what tools capture at a time: a step of one session or of several. What is submitted until its end
 * belongs to it; frames do not nest, and those of threads that step at the same time overlap. RF_OK, or the failure of the submission that carries the boundary
 * (VK_EXT_frame_boundary). */
uint64_t rf_gpu_begin_frame(struct rf_gpu *gpu, const char *label); /* its number, from 1 */
enum rf_status rf_gpu_end_frame(struct rf_gpu *gpu, uint64_t frame, struct rf_error *err);

#endif
