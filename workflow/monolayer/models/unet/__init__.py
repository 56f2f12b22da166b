"""The U-Net family."""
