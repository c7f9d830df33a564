import js from "@eslint/js";

const browser = ["AbortController", "Blob", "CompressionStream", "DOMException", "File", "HTMLElement", "ImageBitmap", "OffscreenCanvas", "Option", "Path2D", "ReadableStream", "ResizeObserver", "Response", "TextDecoderStream", "TextEncoder", "URL", "URLSearchParams", "console", "createImageBitmap", "document", "fetch", "getComputedStyle", "location", "matchMedia", "performance", "queueMicrotask", "requestAnimationFrame", "sessionStorage", "setTimeout", "clearTimeout", "window", "atob", "btoa", "HTMLImageElement", "ImageData", "MessageChannel", "TextDecoder", "WebAssembly", "Worker", "addEventListener", "navigator", "postMessage", "Image", "caches", "Response", "Element", "Image", "Headers", "Request", "self"];

const node = ["Buffer", "setImmediate"];

export default [
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2025, sourceType: "module", globals: Object.fromEntries([...browser, ...node].map((name) => [name, "readonly"])) },
    rules: { eqeqeq: "error", "no-var": "error", "prefer-const": "error", "no-unused-vars": ["error", { varsIgnorePattern: "^_", argsIgnorePattern: "^_" }] },
  },
];
