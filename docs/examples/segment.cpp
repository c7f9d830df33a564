// Segments one object with ONNX Runtime's C++ API, from a point or a box, and writes its mask as a PNG.
//
//   mobilesam export --out onnx --parts encoder,decoder --preprocess uint8
//   g++ -std=c++17 -O2 segment.cpp -o segment -I ORT/include -I STB -L ORT/lib -lonnxruntime
//   ./segment onnx/encoder.onnx onnx/decoder.onnx cat.jpg mask.png point 230 130
//   ./segment onnx/encoder.onnx onnx/decoder.onnx cat.jpg mask.png box 75 10 482 395
//
// ORT is a release of ONNX Runtime, 1.21 or newer, and STB the folder of the single-file libraries stb_image.h,
// stb_image_resize2.h (or the older stb_image_resize.h) and stb_image_write.h. Orientation in the EXIF data of photos is not applied.

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_RESIZE_IMPLEMENTATION
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb_image.h>
#if __has_include(<stb_image_resize2.h>)
#include <stb_image_resize2.h>
#else
#include <stb_image_resize.h>
#endif
#include <stb_image_write.h>

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

constexpr int kFrame = 1024;  // the longer side of the image that the encoder takes
constexpr int kMasks = 4;     // of a prompt
constexpr int kLogits = 256;  // the sides of the low-resolution masks
constexpr float kForeground = 1, kBoxUpperLeft = 2, kBoxLowerRight = 3, kPadding = -1;
constexpr float kThreshold = 0;  // of the logits of a mask

struct Image {
  int width, height;
  std::vector<std::uint8_t> rgb;  // rows of pixels of three bytes
};

Image read_image(const std::string& path) {
  int width, height, channels;
  std::unique_ptr<stbi_uc, void (*)(void*)> pixels(stbi_load(path.c_str(), &width, &height, &channels, 3),
                                                   stbi_image_free);
  if (!pixels) throw std::runtime_error(path + " cannot be read: " + stbi_failure_reason());
  return {width, height, {pixels.get(), pixels.get() + 3 * std::size_t(width) * height}};
}

// Bilinear with antialiasing, as in Python.
Image resized(const Image& image, double scale) {
  auto side = [&](int length) { return std::max(1, int(std::floor(length * scale + 0.5))); };
  Image result{side(image.width), side(image.height), {}};
  result.rgb.resize(3 * std::size_t(result.width) * result.height);
#if __has_include(<stb_image_resize2.h>)
  const bool done = stbir_resize(image.rgb.data(), image.width, image.height, 0, result.rgb.data(), result.width,
                                 result.height, 0, STBIR_RGB, STBIR_TYPE_UINT8, STBIR_EDGE_CLAMP, STBIR_FILTER_TRIANGLE);
#else
  const bool done = stbir_resize_uint8_generic(image.rgb.data(), image.width, image.height, 0, result.rgb.data(),
                                               result.width, result.height, 0, 3, STBIR_ALPHA_CHANNEL_NONE, 0,
                                               STBIR_EDGE_CLAMP, STBIR_FILTER_TRIANGLE, STBIR_COLORSPACE_LINEAR, nullptr);
#endif
  if (!done) {
    throw std::runtime_error("there is not enough memory to resize the image");
  }
  return result;
}

template <typename T>
Ort::Value tensor(std::vector<T>& values, const std::vector<std::int64_t>& shape) {
  static const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  return Ort::Value::CreateTensor<T>(memory, values.data(), values.size(), shape.data(), shape.size());
}

float number(const std::string& text) {
  char* end = nullptr;
  const float value = std::strtof(text.c_str(), &end);
  if (text.empty() || *end || !std::isfinite(value)) throw std::runtime_error(text + " is not a number");
  return value;
}

// The numbers of a prompt after its kind: x y of a point, or x0 y0 x1 y1 of a box, in pixels of the image.
struct Prompt {
  std::vector<float> coords, labels;
};

Prompt make_prompt(const std::string& kind, const std::vector<float>& numbers, const Image& image, const Image& frame) {
  Prompt prompt;
  for (std::size_t index = 0; index < numbers.size(); ++index) {
    const double scale = index % 2 ? double(frame.height) / image.height : double(frame.width) / image.width;
    prompt.coords.push_back(float(numbers[index] * scale));
  }
  if (kind == "point" && numbers.size() == 2) {
    prompt.coords.insert(prompt.coords.end(), {0, 0});  // prompts without a box have a padding point
    prompt.labels = {kForeground, kPadding};
  } else if (kind == "box" && numbers.size() == 4) {
    for (int axis : {0, 1}) {
      if (prompt.coords[axis] > prompt.coords[axis + 2]) std::swap(prompt.coords[axis], prompt.coords[axis + 2]);
    }
    prompt.labels = {kBoxUpperLeft, kBoxLowerRight};
  } else {
    throw std::runtime_error("the prompt must be: point X Y, or: box X0 Y0 X1 Y1");
  }
  return prompt;
}

void segment(const std::vector<std::string>& arguments) {
  const Image image = read_image(arguments[2]);
  const double scale = double(kFrame) / std::max(image.width, image.height);
  std::vector<float> numbers;
  for (std::size_t index = 5; index < arguments.size(); ++index) numbers.push_back(number(arguments[index]));
  Image frame = resized(image, scale);
  Prompt prompt = make_prompt(arguments[4], numbers, image, frame);

  Ort::Env environment;
  // Paths are wide on Windows.
  Ort::Session encoder(environment, std::filesystem::path(arguments[0]).c_str(), Ort::SessionOptions());
  Ort::Session decoder(environment, std::filesystem::path(arguments[1]).c_str(), Ort::SessionOptions());

  // Once for an image. An app keeps the embedding for all prompts.
  const char* encoder_inputs[] = {"input_image"};
  const char* encoder_outputs[] = {"image_embeddings"};
  Ort::Value pixels = tensor(frame.rgb, {frame.height, frame.width, 3});
  auto embeddings = encoder.Run(Ort::RunOptions(), encoder_inputs, &pixels, 1, encoder_outputs, 1);

  // Once for a prompt.
  std::vector<float> no_mask(kLogits * kLogits, 0), has_mask{0};
  std::vector<float> size{float(image.height), float(image.width)};
  const auto points = std::int64_t(prompt.labels.size());
  std::array<Ort::Value, 6> inputs{std::move(embeddings[0]),
                                   tensor(prompt.coords, {1, points, 2}),
                                   tensor(prompt.labels, {1, points}),
                                   tensor(no_mask, {1, 1, kLogits, kLogits}),
                                   tensor(has_mask, {1}),
                                   tensor(size, {2})};
  const char* names[] = {"image_embeddings", "point_coords",   "point_labels",
                         "mask_input",       "has_mask_input", "orig_im_size"};
  const char* outputs[] = {"masks", "iou_predictions"};
  auto results = decoder.Run(Ort::RunOptions(), names, inputs.data(), inputs.size(), outputs, 2);

  // Of the four masks, the first one is for a box or for several points. A single point can mean a part or the whole of
  // an object: the other three are candidates, and the one of the highest predicted IoU is taken.
  const float* ious = results[1].GetTensorData<float>();
  const auto best = arguments[4] == "box" ? 0 : std::max_element(ious + 1, ious + kMasks) - ious;
  std::vector<std::uint8_t> mask(std::size_t(image.width) * image.height);
  const float* logits = results[0].GetTensorData<float>() + best * mask.size();
  std::transform(logits, logits + mask.size(), mask.begin(), [](float logit) { return logit > kThreshold ? 255 : 0; });
  if (!stbi_write_png(arguments[3].c_str(), image.width, image.height, 1, mask.data(), image.width)) {
    throw std::runtime_error(arguments[3] + " cannot be written");
  }
  std::cout << "predicted IoU " << ious[best] << "\n";
}

int main(int count, char** values) {
  const std::vector<std::string> arguments(values + 1, values + count);
  if (arguments.size() < 7) {
    std::cerr << "usage: segment ENCODER DECODER IMAGE MASK point X Y | box X0 Y0 X1 Y1\n";
    return 2;
  }
  try {
    segment(arguments);
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
}
