// What ImageJ sees in label TIFFs and ROI sets, a line a fact: java -cp ij.jar ImageJProbe.java FILE...
import ij.IJ;
import ij.ImagePlus;
import ij.gui.Roi;
import ij.io.Opener;
import ij.io.RoiDecoder;
import ij.measure.Calibration;
import ij.measure.Measurements;
import ij.measure.ResultsTable;
import ij.plugin.filter.Analyzer;
import ij.process.ByteProcessor;
import ij.process.ImageProcessor;
import java.awt.Rectangle;
import java.io.FileInputStream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;

class ImageJProbe {
    public static void main(String[] files) throws Exception {
        System.out.println("version\t" + IJ.getVersion());
        for (String file : files) {
            if (file.endsWith(".zip")) {
                rois(file);
            } else {
                image(file);
            }
        }
    }

    static void image(String file) {
        ImagePlus image = new Opener().openImage(file);
        Calibration scale = image.getCalibration();
        System.out.println("image\t" + image.getNChannels() + "\t" + image.getNSlices() + "\t" + image.getNFrames() + "\t"
                + image.getBitDepth() + "\t" + scale.pixelWidth + "\t" + scale.getUnit() + "\t" + scale.frameInterval);
        for (int plane = 1; plane <= image.getStackSize(); plane++) {
            ImageProcessor pixels = image.getStack().getProcessor(plane);
            double sum = 0;
            for (int at = 0; at < pixels.getPixelCount(); at++) {
                sum += (double) pixels.getf(at) * (at % 997);
            }
            System.out.println("plane\t" + sum);
        }
    }

    static void rois(String file) throws Exception {
        try (ZipInputStream zip = new ZipInputStream(new FileInputStream(file))) {
            for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
                Roi roi = new RoiDecoder(zip.readAllBytes(), entry.getName()).getRoi();
                Rectangle box = roi.getBounds();
                ImageProcessor mask = roi.getMask();
                double sum = 0;
                int area = 0;
                for (int y = 0; y < box.height; y++) {
                    for (int x = 0; x < box.width; x++) {
                        if (mask == null || mask.get(x, y) != 0) {
                            area++;
                            sum += (double) (box.x + x) * (box.y + y + 1);
                        }
                    }
                }
                Roi there = (Roi) roi.clone();
                there.setLocation(1, 1);
                ImagePlus image = new ImagePlus("", new ByteProcessor(box.width + 2, box.height + 2));
                image.setRoi(there);
                ResultsTable table = new ResultsTable();
                int asked = Measurements.AREA | Measurements.PERIMETER | Measurements.SHAPE_DESCRIPTORS;
                new Analyzer(image, asked, table).measure();
                System.out.println("roi\t" + entry.getName() + "\t" + roi.getTPosition() + "\t" + box.x + "\t" + box.y + "\t"
                        + area + "\t" + sum + "\t" + table.getValue("Perim.", 0) + "\t" + table.getValue("Circ.", 0));
            }
        }
    }
}
