"""Logs as the compiler writes them, in the wordings of public threads; short, of runs that never were."""

from __future__ import annotations

OPTIMIZED = """\
[info] Translation started on ONNX model yolov8n
[info] Restored ONNX model yolov8n (completion time: 00:00:00.04)
[info] Start nodes mapped from original model: 'images': 'yolov8n/input_layer1'.
[info] End nodes mapped from original model: '/model.22/cv2.0/cv2.0.2/Conv', '/model.22/cv3.0/cv3.0.2/Conv'.
[info] Translation completed on ONNX model yolov8n (completion time: 00:00:00.67)
[info] Loading model script commands to yolov8n from string
[info] Starting Model Optimization
[info] Model received quantization params from the hn
[info] MatmulDecompose skipped
[info] Starting Mixed Precision
[info] Model Optimization Algorithm Mixed Precision is done (completion time is 00:00:00.60)
[info] LayerNorm Decomposition skipped
[info] Starting Statistics Collector
[info] Using dataset with 1024 entries for calibration
Calibration:   0%|          | 0/1024 [00:00<?, ?entries/s]\rCalibration: 100%|####| 1024/1024 [04:36<00:00]
[info] Model Optimization Algorithm Statistics Collector is done (completion time is 00:04:44.90)
[info] Matmul Equalization skipped
[info] Finetune encoding skipped
[info] Bias Correction skipped
[info] Adaround skipped
[info] Starting Quantization-Aware Fine-Tuning
[info] Using dataset with 1024 entries for finetune
Epoch 1/4
  1/128 [>.............................] - ETA: 3s - total_distill_loss: 0.5\r 64/128 [======>.......] - ETA: 1s
128/128 [==============================] - 61s 477ms/step - total_distill_loss: 0.1018
Epoch 2/4
 81/128 \u2501\u2501\u2501\u2501\u2501\u2501\u2501\u2501 12s 115ms/step - _distill_loss_yolov8n/conv41: 0.03
[info] Model Optimization Algorithm Quantization-Aware Fine-Tuning is done (completion time is 01:09:16.74)
[info] Starting Layer Noise Analysis
Full Quant Analysis: 100%|####| 16/16 [01:05<00:00,  4.11s/iterations]
[info] Model Optimization Algorithm Layer Noise Analysis is done (completion time is 00:01:07.61)
[info] Output layers signal-to-noise ratio (SNR): measures the quantization noise (higher is better)
[info] \tyolov8n/output_layer1 SNR:\t28.08 dB
[info] \tyolov8n/output_layer2 SNR:\t-0.5 dB
[info] Model Optimization is done
[info] Saved HAR to: /home/somebody/yolov8n.har
"""

LOWERED = """\
[info] Starting Model Optimization
[warning] Reducing optimization level to 0 (the accuracy won't be optimized and compression won't be used) because \
there's less data than the recommended amount (1024), and there's no available GPU
[warning] Running model optimization with zero level of optimization is not recommended for production use
[info] Starting Stats Collector
[info] Using dataset with 64 entries for calibration
[info] Stats Collector is done (completion time is 00:00:15.89)
[info] Bias Correction skipped
[info] Fine Tune skipped
[info] matmul_equalization skipped
[info] The calibration set seems to not be normalized, because the values range is [(-1.0, 1.0)].
[warning] Reducing output bits of yolov8n/ne_activation_fc14 by 5.0 bits (More than half)
[info] Assigning 4bit weights to layer yolov8n/conv40 with 589.82k parameters
[info] Assigning 4bit weight to layer yolov8n/conv51.
[info] Ratio of weights in 4bit is 0.20
"""

COMPILED = """\
[info] To achieve optimal performance, set the compiler_optimization_level to "max"
[info] Starting Hailo allocation and compilation flow
[info] Building optimization options for network layers...
[info] Trying to compile the network in a single context
[info] Single context flow failed: Recoverable single context error
[info] Using Multi-context flow
[info] Resources optimization params: max_control_utilization=60%, max_compute_utilization=60%
[info] Finding the best partition to contexts...
[.......................<==>.............] Duration: 00:01:03
Found valid partition to 3 contexts
[info] Searching for a better partition...
Found valid partition to 2 contexts, Performance improved by 12.2%
[info] Partition to contexts finished successfully
[info] Partitioner finished after 362 iterations, Time it took: 20m 58s 302ms
[info] Applying selected partition to 2 contexts...
Validating yolov8n_context_0 layer by layer (57%)
 +  +  +  +  +
[info] Layers feasibility validated successfully
[info] Running resources allocation (mapping) flow, time per context: 59m 59s
Context:0/1 Iteration 4: Trying parallel mapping...
          cluster_0  cluster_1  cluster_4  cluster_5  prepost
 worker0  V          V          *          X          V
  00:56
Reverts on cluster mapping: 0
[info] yolov8n_context_0 utilization:
[info] | Cluster   | Control Utilization | Compute Utilization | Memory Utilization |
[info] | cluster_0 | 100%                | 40.6%               | 47.7%              |
[info] | Total     | 57.8%               | 27.7%               | 39.1%              |
[info] yolov8n_context_1 utilization:
[info] | Total     | 57.8%               | 27.7%               | 39.1%              |
[info] Successful Mapping (allocation time: 2m 49s)
[info] Compiling kernels of yolov8n_context_0...
[info] Bandwidth of model inputs: 9.375 Mbps, outputs: 9.22852 Mbps (for a single frame)
[info] Bandwidth of DDR buffers: 0.0 Mbps (for a single frame)
[info] Bandwidth of inter context tensors: 1.5 Mbps (for a single frame)
[info] Building HEF...
[info] Successful Compilation (compilation time: 5s)
"""


def joined(**logs: str) -> str:
    """Return one text of several logs; `_log` in a name stands for `.log`."""
    return "".join(f"==> {name.replace('_log', '.log')} <==\n{text}\n" for name, text in logs.items())
