"""CenterMask on VoVNetV2."""
