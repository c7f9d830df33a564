// MobileSAM for other pages. See model/mobilesam.js.

export * from "./model/mobilesam.js";
